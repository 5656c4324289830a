import { expect, it } from "vitest";
import { toSingleAssignment } from "../../../src/lang/compile/ssa.ts";
import { printFunction } from "../../../src/lang/ir/print.ts";
import { functionOf, type Stmt } from "./random-function.ts";

const body: readonly Stmt[] = [
  {
    is: "if",
    cond: { op: "gt", width: 32, a: { is: "var", index: 0 }, b: { is: "const", value: 5n } },
    yes: [
      {
        is: "set",
        index: 0,
        value: { is: "unary", op: "be16", width: 64, a: { is: "packet", size: 2, at: 12 } },
      },
    ],
    no: [{ is: "call" }],
  },
  { is: "return", value: { is: "var", index: 0 } },
];

it("prints variables before single assignment, and phis after it", () => {
  const fn = functionOf(body);
  expect(printFunction(fn).split("join:")[1]).toBe("\n  v13 = get x0\n  return v13\n");
  toSingleAssignment(fn);
  const text = printFunction(fn);
  expect(
    text.startsWith("function random(ctx)\n  slot slot 32 align 8\nentry:\n  v0 = load4 ctx [p0 + 0]\n"),
  ).toBe(true);
  expect(text).toContain("  if gt64 v2 v1 then to short else to enough\n");
  expect(text).toContain("  store8 stack [&slot+0 + 8] 0\n");
  expect(text.slice(text.indexOf("  if gt32"))).toBe(`  if gt32 v3 5 then to then else to else
then:
  v9 = load2 packet [v0 + 12]
  v10 = be16.64 v9
  to join
else:
  v11 = call bpf_get_prandom_u32()
  to join
join:
  v12 = phi then: v10, else: v3
  return v12
`);
});
