import { describe, expect, it } from "vitest";
import { compile } from "../../../src/lang/compile/compile.ts";
import { execute } from "./execute.ts";
import { interpret } from "./interpret.ts";
import { type Expr, functionOf, PACKET_SIZE, type Stmt } from "./random-function.ts";

const zero: Expr = { is: "const", value: 0n };
const byte: Expr = { is: "packet", size: 1, at: 0 };
const whole: Expr = { is: "packet", size: 8, at: 0 };
const ret = (value: bigint): Stmt => ({ is: "return", value: { is: "const", value } });

// What random functions found, made small.
const found: Readonly<Record<string, readonly Stmt[]>> = {
  "a comparison of 32 bits with a constant that has more": [
    {
      is: "if",
      cond: {
        op: "gt",
        width: 32,
        a: { is: "var", index: 0 },
        b: { is: "const", value: 0x0f00_0000_0000_0000n },
      },
      yes: [ret(1n)],
      no: [ret(2n)],
    },
  ],
  "32 bits that are equal to a constant whose upper half differs": [
    {
      is: "if",
      cond: { op: "eq", width: 32, a: byte, b: { is: "const", value: 0x1_0000_0001n } },
      yes: [ret(1n)],
      no: [ret(2n)],
    },
  ],
  "a comparison of 32 bits of what a mask leaves in the upper half": [
    {
      is: "if",
      cond: {
        op: "eq",
        width: 32,
        a: { is: "binary", op: "and", width: 64, a: whole, b: { is: "const", value: 0xff00_0000_0000n } },
        b: zero,
      },
      yes: [ret(1n)],
      no: [ret(2n)],
    },
  ],
};

describe("functions that were once compiled wrongly", () => {
  for (const [name, body] of Object.entries(found)) {
    it(name, () => {
      for (const fill of [0x01, 0x80, 0xff]) {
        const packet = new Uint8Array(PACKET_SIZE).fill(fill);
        packet[1] = 0;
        const expected = interpret(functionOf(body), packet);
        expect(execute(compile(functionOf(body), { isa: 4 }), packet)).toEqual(expected);
      }
    });
  }
});
