/** Reads a variable that a test cannot do without. */
export function variable(name: string): string {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set: README.md says what it is`);
  return value;
}
