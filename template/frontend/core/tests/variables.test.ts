import { expect, test } from "vitest";

import { faults, VARIABLES } from "@core/variables";

const COMPLETE = { ...process.env, ...VARIABLES };

test("with everything there nothing is said", () => {
  expect(faults(COMPLETE)).toEqual([]);
  expect(faults({ ...COMPLETE, FRONTEND_URL: "https://app.example.com" })).toEqual([]);
});

test.each(Object.keys(VARIABLES))("%s is missed by its name", (name) => {
  const [fault] = faults({ ...COMPLETE, [name]: "" });
  expect(fault).toContain(`${name} is not set. Set it, for example ${name}=`);
});

test.each(["app.example.com", "https://", "ftp://app.example.com"])(
  "%s is no address",
  (address) => {
    const found = faults({ ...COMPLETE, FRONTEND_URL: address });
    expect(found).toEqual(["FRONTEND_URL is no address: it begins with https:// or http://"]);
  },
);
