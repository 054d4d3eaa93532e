import { defineConfig } from "vitest/config";

import { foundation } from "./core/config/vitest.mts";

export default defineConfig(foundation);
