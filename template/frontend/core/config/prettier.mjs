const config = { printWidth: 100, tabWidth: 2 };

export default config;
