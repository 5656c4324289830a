import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { assemble, listing, mapDef, type Program } from "../../../src/asm/index.ts";
import { be16, s8, s32, s64, struct, u8, u16, u32, u64 } from "../../../src/btf/layout/index.ts";
import { type LangOptions, XDP_DROP, XDP_PASS, XDP_TX, type XdpScope, xdp } from "../../../src/lang/index.ts";
import { BPF_JA, BPF_JMP32 } from "../../../src/uapi/bpf.ts";
import { refusal } from "../refusal.ts";

// One program for each thing that the compiler does, and the instructions that are left.

const one = struct(
  "one",
  { a: u8, b: u8, c: u8, d: s8, e: u32, f: s32, g: u64, port: be16 },
  { packed: true },
);
type Fields = ReturnType<typeof fieldsOf>;

function fieldsOf($: XdpScope) {
  return $.packet.take(one, { else: () => $.return(XDP_PASS) });
}

/** The instructions between the check of the packet's end and the path of what is too short, one a line. */
function code(
  body: ($: XdpScope, fields: Fields) => ReturnType<XdpScope["return"]>,
  options: LangOptions = {},
) {
  const program = xdp("test", ($) => body($, fieldsOf($)), options);
  const all = textOf(program);
  const start = all.findIndex((text) => /^if r\d > r\d goto/.test(text)) + 1;
  const end = all.findIndex((text, at) => text === "w0 = 2" && all[at + 1] === "exit");
  return all.slice(start, end < 0 ? all.length : end);
}

function textOf(program: Program): string[] {
  // Distances depend on what stands around: labels say where a jump goes.
  return listing(assemble(program)).lines.map(({ text }) => text.replace(/ pc[+-]\d+/, ""));
}

describe("values", () => {
  test("constants are folded and go through variables and branches", () => {
    const lines = code(($) => {
      const [size, factor] = [$.let(u32, 14), $.let(u32, 3)];
      factor.set(factor.add(1));
      $.if(factor.eq(4), () => size.set(size.mul(factor))).else(() => size.set($.bpf_get_prandom_u32()));
      return $.return(size);
    });
    expect(lines).toEqual(["w0 = 56", "exit"]);
  });

  test("the same is computed once, in this block and in those behind it", () => {
    const lines = code(($, { e, g }) => {
      const sum = $.let(u64, g.mul(3));
      $.if(e.to(u64).gt(g), () => sum.set(sum.add(g.mul(3)).add(e.to(u64)).add(e.to(u64))));
      return $.return(sum);
    });
    expect(lines.filter((text) => text.includes("*= 3"))).toHaveLength(1);
    expect(lines.filter((text) => text.includes("*(u32 *)"))).toHaveLength(1);
    expect(lines.filter((text) => text.includes("*(u64 *)"))).toHaveLength(1);
  });

  test("what is in memory is known until somebody may have written it", () => {
    const lines = code(($, fields) => {
      const before = $.let(u32, fields.e);
      fields.g.set(1);
      return $.return(before.add(fields.e).add(fields.g.to(u32)));
    });
    // What was stored is known; the other field is read again, since it lies in the same memory.
    expect(lines.filter((text) => /= \*\(u32 \*\)/.test(text))).toHaveLength(2);
    expect(lines.filter((text) => /= \*\(u64 \*\)/.test(text))).toHaveLength(0);
  });

  test.each([
    ["times 8", (v: Fields["e"]) => v.mul(8), "w0 <<= 3"],
    ["divided by 16", (v: Fields["e"]) => v.div(16), "w0 >>= 4"],
    ["modulo 4", (v: Fields["e"]) => v.mod(4), "w0 &= 3"],
    ["minus 5", (v: Fields["e"]) => v.sub(5), "w0 += -5"],
    ["plus 1 plus 2", (v: Fields["e"]) => v.add(1).add(2), "w0 += 3"],
  ] as const)("powers of two and constants: %s", (_, compute, line) => {
    const lines = code(($, { e }) => $.return(compute(e)));
    expect(lines.map((text) => text.replace(/w\d/, "w0"))).toContain(line);
    expect(lines).toHaveLength(3 + (lines[1]?.startsWith("r0") || lines[2]?.startsWith("r0") ? 1 : 0));
  });

  test("what nobody uses and what nobody reaches is not there", () => {
    const lines = code(($, { e, g }) => {
      e.mul(77);
      $.let(u64, g);
      $.if($.value(u32, 1).eq(2), () => $.bpf_trace_printk as unknown);
      return $.return(XDP_DROP);
    });
    expect(lines).toEqual(["w0 = 1", "exit"]);
  });
});

describe("widths", () => {
  test("a 64-bit result of which 32 bits are wanted is computed in 32", () => {
    const lines = code(($, { e, g }) => $.return(g.xor(e.to(u64)).to(u32)));
    expect(lines.filter((text) => /^w\d = w\d$/.test(text))).toEqual([]);
    expect(lines.some((text) => /^w\d \^= w\d$/.test(text))).toBe(true);
  });

  test("a comparison and a store look at their own bits", () => {
    const lines = code(($, { e, g }) => {
      const low = g.to(u32);
      $.if(low.gt(e), () => e.set(low));
      return $.return(XDP_DROP);
    });
    expect(lines.some((text) => /^if w\d (<=|>|<|>=) w\d goto/.test(text))).toBe(true);
    expect(lines.some((text) => /^w\d = w\d$/.test(text))).toBe(false);
  });

  test("a mask that changes nothing is left out", () => {
    const lines = code(($, { a, b }) => $.return(a.to(u32).and(0xff).or(b.to(u32)).and(0x1ff)));
    expect(lines.some((text) => text.includes("&="))).toBe(false);
  });

  test("comparisons with wire constants swap the constant, not the field", () => {
    const lines = code(($, { port }) => {
      $.if(port.eq(53), () => $.return(XDP_DROP));
      return $.return(XDP_TX);
    });
    expect(lines.some((text) => /be16/.test(text))).toBe(false);
    expect(lines.some((text) => text.includes("== 0x3500") || text.includes("!= 0x3500"))).toBe(true);
  });
});

describe("instructions of newer kernels", () => {
  test("a load extends the sign itself from kernel 6.6 on, and shifts do before", () => {
    const extended = (kernel: "5.10" | "6.6"): string[] =>
      code(
        ($, { d, f, g }) => {
          g.set(d.to(s64).add(f.to(s64)).to(u64));
          return $.return(XDP_DROP);
        },
        { kernel },
      );
    const loads = (lines: string[]): string[] =>
      lines.flatMap((text) => /= \*\((\w+) \*\)/.exec(text)?.[1] ?? []).sort();
    expect(loads(extended("5.10"))).toEqual(["u32", "u8"]);
    expect(extended("5.10").filter((text) => text.includes("s>>="))).toHaveLength(2);
    expect(loads(extended("6.6"))).toEqual(["s32", "s8"]);
    expect(extended("6.6").some((text) => /<<|>>/.test(text))).toBe(false);
  });

  test("a register is extended by a move from kernel 6.6 on", () => {
    const shifted = (kernel: "5.10" | "6.6"): string[] =>
      code(($, { e }) => $.return(e.mul(3).to(s8)), { kernel }).filter((text) => /<<|\(s8\)/.test(text));
    expect(shifted("5.10")).toEqual([expect.stringMatching(/^w\d <<= 24$/)]);
    expect(shifted("6.6")).toEqual([expect.stringMatching(/^w\d = \(s8\)w\d$/)]);
  });

  test("a jump is as far as it must be from kernel 6.6 on only", () => {
    const far = (kernel: "5.10" | "6.6") => (): Program =>
      xdp(
        "far",
        ($) => {
          const sum = $.let(u32, $.bpf_get_prandom_u32());
          $.if(sum.eq(1), () => {
            for (let n = 0; n < 17_000; n++) sum.set(sum.mul(3).xor(n));
          });
          return $.return(sum);
        },
        { kernel },
      );
    const gotol = BPF_JMP32 | BPF_JA;
    expect(assemble(far("6.6")()).lines.filter(({ insn }) => insn.code === gotol)).toHaveLength(1);
    expect(refusal(fileURLToPath(import.meta.url), far("5.10"))).toBe(
      "'far' has 34002 instructions, and jumps farther than kernels before 6.6 can",
    );
  });

  test("signed division is there from kernel 6.6 on only", () => {
    const divided = (kernel: "5.10" | "6.6") => (): string[] =>
      code(($, { f }) => $.return(f.div(7)), { kernel });
    expect(divided("6.6")().some((text) => /^w\d s\/= 7$/.test(text))).toBe(true);
    expect(refusal(fileURLToPath(import.meta.url), divided("5.10"))).toBe(
      "an s32 cannot be divided on kernels before 6.6, and this program is for 5.10",
    );
  });
});

describe("registers", () => {
  test("a variable that is changed stays in its register", () => {
    const lines = code(($, { e }) => {
      const sum = $.let(u32, e);
      for (let n = 0; n < 5; n++) sum.set(sum.mul(3).add(e));
      return $.return(sum);
    });
    // One copy, of the first value: it is needed again.
    expect(lines.filter((text) => /^[rw]\d = [rw]\d$/.test(text)).length).toBeLessThanOrEqual(1);
  });

  test("what lives across a call is in r6 to r9, and not saved by hand", () => {
    const lines = code(($, { e, g }) => {
      const now = $.bpf_ktime_get_ns();
      return $.return(now.add(g).add(e.to(u64)));
    });
    expect(lines.some((text) => /r10/.test(text))).toBe(false);
    expect(lines.some((text) => /^r[6-9] = \*/.test(text))).toBe(true);
  });

  /** `count` values that are alive together across calls, used and done with, `rounds` times. */
  const crowded = (count: number, rounds = 1): Program =>
    xdp("crowded", ($) => {
      const sum = $.let(u64, 0);
      for (let round = 0; round < rounds; round++) {
        const values = Array.from({ length: count }, () => $.let(u64, $.bpf_ktime_get_ns()));
        for (const value of values) sum.set(sum.mul(3).xor(value));
      }
      return $.return(sum);
    });
  const depthOf = (program: Program): number =>
    Math.max(0, ...textOf(program).map((text) => Number(/\(r10 -(\d+)\)/.exec(text)?.[1] ?? 0)));

  test("what finds no register is stored once and loaded once", () => {
    const lines = textOf(crowded(12));
    const stores = lines.filter((text) => /^\*\(u64 \*\)\(r10 -\d+\) = r\d$/.test(text));
    const loads = lines.filter((text) => /^r\d = \*\(u64 \*\)\(r10 -\d+\)$/.test(text));
    expect(stores.length).toBe(loads.length);
    expect(stores.length).toBeLessThanOrEqual(9);
  });

  test("values that are never alive together share their place in the stack frame", () => {
    expect(depthOf(crowded(20))).toBeGreaterThan(0);
    expect(depthOf(crowded(20, 4))).toBeLessThanOrEqual(depthOf(crowded(20)) + 8);
  });

  test("more values at once than there is room for", () => {
    const file = fileURLToPath(import.meta.url);
    expect(refusal(file, () => crowded(80))).toBe(
      "'crowded' needs 75 values at once that find no register, and 600 bytes of stack with them; a program has 512",
    );
  });
});

describe("the stack frame", () => {
  const key = struct("key", { a: u32, b: u16, c: u16 });
  const map = mapDef({ name: "map", type: "hash", key, value: u64, maxEntries: 8 });

  test("zeros that are overwritten before anybody reads them are not written", () => {
    const lines = code(($, { e }) => {
      const room = $.struct(key);
      room.a.set(e);
      room.b.set(1);
      room.c.set(2);
      $.if($.delete(map, room).eq(0), () => $.return(XDP_DROP));
      return $.return(XDP_TX);
    });
    expect(lines.filter((text) => /^\*\(u64 \*\)\(r10 -\d+\) = 0/.test(text))).toEqual([]);
  });

  test("those that somebody reads are, padding too", () => {
    const padded = struct("padded", { a: u8, b: u32 });
    const narrow = mapDef({ name: "narrow", type: "hash", key: padded, value: u64, maxEntries: 8 });
    const lines = code(($, { a, e }) => {
      const room = $.struct(padded);
      room.a.set(a);
      room.b.set(e);
      $.if($.delete(narrow, room).eq(0), () => $.return(XDP_DROP));
      return $.return(XDP_TX);
    });
    expect(lines.some((text) => /\(r10 -\d+\) = 0/.test(text))).toBe(true);
  });

  test("a field that is set twice is stored once; one that a branch sets is kept", () => {
    const lines = code(($, { e }) => {
      const room = $.struct(key, { a: 1 });
      room.a.set(2);
      $.if(e.eq(7), () => room.a.set(3));
      $.if($.delete(map, room).eq(0), () => $.return(XDP_DROP));
      return $.return(XDP_TX);
    });
    const stored = lines.flatMap((text) => /^\*\(u32 \*\)\(r10 -\d+\) = (\d+)/.exec(text)?.[1] ?? []);
    expect(stored.filter((value) => value !== "0").sort()).toEqual(["2", "3"]);
  });
});

describe("the order of blocks", () => {
  test("the body of an if without else stands in line", () => {
    const lines = code(($, { e, g }) => {
      $.if(e.eq(7), () => g.set(1));
      return $.return(XDP_DROP);
    });
    expect(lines.some((text) => text.startsWith("goto"))).toBe(false);
    expect(lines.at(-1)).toBe("exit");
  });

  test("what ends in the same way ends in one place", () => {
    const program = xdp("tails", ($) => {
      const { e, g } = fieldsOf($);
      $.if(e.eq(7), () => {
        g.set(1);
        return $.return(XDP_DROP);
      });
      $.if(e.eq(8), () => $.return(XDP_DROP));
      return $.return(XDP_TX);
    });
    const lines = textOf(program);
    expect(lines.filter((text) => text === "w0 = 1")).toHaveLength(1);
    expect(lines.filter((text) => text === "exit")).toHaveLength(3);
  });
});

test("the same program is the same bytes, whatever was built before it", () => {
  const build = (): Program =>
    xdp("again", ($) => {
      const fields = fieldsOf($);
      const sum = $.let(u64, fields.g);
      $.for(20, (index) => {
        $.if(sum.has(1), () => sum.set(sum.mul(3).add(index.to(u64)))).else(() => sum.set(sum.shr(1)));
      });
      return $.return(sum);
    });
  const first = assemble(build()).bytes;
  xdp("other", ($) => $.return($.bpf_get_prandom_u32()));
  expect(assemble(build()).bytes).toEqual(first);
});
