import { defineConfig } from "@playwright/test";

import { foundation } from "./core/config/playwright";

export default defineConfig(foundation);
