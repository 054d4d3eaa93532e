import foundation from "./core/config/eslint.mjs";

const config = [...foundation];

export default config;
