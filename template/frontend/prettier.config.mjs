import foundation from "./core/config/prettier.mjs";

const config = { ...foundation };

export default config;
