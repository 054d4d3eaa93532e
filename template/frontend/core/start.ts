import { faults } from "@core/variables";

/**
 * Ends the process, with a line for each fault, where a variable is missing or wrong. Otherwise it
 * would be ready, take the place of one that works, and fail with every page.
 */
export function refuseToStart() {
  const found = faults(process.env);
  if (found.length === 0) return;
  for (const fault of found) console.error(fault);
  process.exit(1);
}
