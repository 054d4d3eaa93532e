import type { NextConfig } from "next";

import { foundation } from "./core/config/next";

const config: NextConfig = { ...foundation };

export default config;
