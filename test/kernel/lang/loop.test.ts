import { describe, expect, test } from "vitest";
import { mapDef } from "../../../src/asm/index.ts";
import { array, struct, u8, u32, u64 } from "../../../src/btf/layout/index.ts";
import { BpfMap, BpfProgram, RingBuffer } from "../../../src/kernel/index.ts";
import {
  func,
  type HostVal,
  type LoopForm,
  TC_ACT_OK,
  tc,
  type Var,
  XDP_DROP,
  XDP_PASS,
  type XdpScope,
  xdp,
} from "../../../src/lang/index.ts";
import { describeKernel } from "../../support/privileges.ts";

const packet = (...bytes: number[]): Uint8Array => {
  const data = new Uint8Array(64);
  data.set(bytes);
  return data;
};
const one = struct("one", { value: u8 });
const kernel = "6.4";

describeKernel("loops of every form do the same", () => {
  const forms: readonly LoopForm[] = ["unroll", "loop", "iterator", "bpf_loop"];

  describe.each(forms)("%s", (as) => {
    test("break, continue, variables and values from outside, an inner loop", () => {
      const program = xdp(
        "sums",
        ($) => {
          const limit = $.packet.take(one, { else: () => $.return(XDP_PASS) }).value;
          const [sum, turns] = [$.let(u32, 1), $.let(u64, 0)];
          $.for(
            10,
            (index) => {
              $.if(index.eq(3), () => $.continue());
              $.if(index.eq(limit), () => $.break());
              $.for(
                3,
                (inner) => {
                  $.if(inner.eq(2), () => $.break());
                  sum.set(sum.add(index.mul(limit)).add(inner));
                },
                { as },
              );
              turns.set(turns.add(1));
            },
            { as },
          );
          return $.return(sum.add(turns.to(u32).shl(16)));
        },
        { kernel },
      );
      using loaded = BpfProgram.load(program);
      for (const limit of [0, 1, 3, 4, 7, 10, 200]) {
        let [sum, turns] = [1, 0];
        for (let index = 0; index < 10; index++) {
          if (index === 3) continue;
          if (index === limit) break;
          sum += 2 * index * limit + 1;
          turns++;
        }
        const { retval } = loaded.testRun({ data: packet(limit) });
        expect({ limit, retval: retval >>> 0 }).toEqual({ limit, retval: (sum + turns * 65536) >>> 0 });
      }
    });

    test("return from inside of two loops, in a function of its own too", () => {
      const find = func("find", [u32], u32, ($, wanted) => {
        $.for(
          8,
          (a) => {
            $.for(8, (b) => void $.if(a.mul(8).add(b).eq(wanted), () => $.return(a.shl(8).or(b))), { as });
          },
          { as },
        );
        return $.return(0xffff);
      });
      const program = xdp(
        "finds",
        ($) => {
          const wanted = $.packet.take(one, { else: () => $.return(XDP_PASS) }).value;
          $.for(4, (index) => void $.if(index.add(60).eq(wanted), () => $.return(wanted)), { as });
          return $.return($.call(find, wanted));
        },
        { kernel },
      );
      using loaded = BpfProgram.load(program);
      for (const [wanted, expected] of [
        [0, 0],
        [17, 0x201],
        [59, 0x703],
        [61, 61],
        [64, 0xffff],
      ] as const) {
        expect(loaded.testRun({ data: packet(wanted) }).retval).toBe(expected);
      }
    });

    test("views of the packet, of the stack, of a map and of the context inside", () => {
      const counts = mapDef({ name: "counts", type: "array", key: u32, value: u64, maxEntries: 1 });
      const words = struct("words", { list: array(u32, 8) });
      const program = tc(
        "views",
        ($) => {
          const ok = { else: () => $.return(TC_ACT_OK) };
          const first = $.packet.take(struct("four", { a: u8, b: u8, c: u8, d: u8 }), ok);
          const room = $.struct(words, { list: [1, 2, 3, 4, 5, 6, 7, 8] });
          const count = $.lookup(counts, 0, ok);
          $.for(
            4,
            (index) => {
              const word = room.list.wrap(index.to(u32));
              word.set(word.add(first.b));
              count.set(count.add(first.a));
              $.ctx.mark.set($.ctx.mark.add(1));
              first.d.set(first.d.add(1));
            },
            { as },
          );
          const sum = $.let(u32, $.ctx.mark);
          for (let index = 0; index < 8; index++) sum.set(sum.add(room.list.at(index)));
          return $.return(sum);
        },
        { kernel },
      );
      using map = BpfMap.create(counts);
      using loaded = BpfProgram.load(program, { maps: [map] });
      const { retval, data } = loaded.testRun({ data: packet(5, 7, 0, 250) });
      expect(retval).toBe(36 + 4 * 7 + 4);
      expect(data[3]).toBe(254);
      expect(map.get(0)).toBe(20n);
    });

    test("a while loop, with a count that the packet gives", () => {
      const program = xdp(
        "while_loop",
        ($) => {
          const value = $.packet.take(one, { else: () => $.return(XDP_PASS) }).value;
          const [rest, steps] = [$.let(u32, value), $.let(u32, 0)];
          $.while(
            () => rest.ne(1).and(rest.ne(0)),
            { max: as === "unroll" || as === "loop" ? 20 : 200, as },
            () => {
              $.if(rest.has(1), () => rest.set(rest.mul(3).add(1))).else(() => rest.set(rest.shr(1)));
              steps.set(steps.add(1));
            },
          );
          return $.return(steps);
        },
        { kernel },
      );
      using loaded = BpfProgram.load(program);
      for (const [value, steps] of [
        [0, 0],
        [1, 0],
        [6, 8],
        [7, 16],
      ] as const) {
        expect(loaded.testRun({ data: packet(value) }).retval).toBe(steps);
      }
    });
  });

  test.each(["loop", "iterator", "bpf_loop"] as const)("%s: a count that only the program knows", (as) => {
    const program = xdp(
      "counted",
      ($) => {
        const count = $.packet.take(one, { else: () => $.return(XDP_PASS) }).value;
        const sum = $.let(u32, 0);
        $.for(count, (index) => sum.set(sum.add(index)), { max: 100, as });
        return $.return(sum);
      },
      { kernel },
    );
    using loaded = BpfProgram.load(program);
    for (const count of [0, 1, 99, 100, 101, 255]) {
      const turns = Math.min(count, 100);
      expect(loaded.testRun({ data: packet(count) }).retval).toEqual((turns * (turns - 1)) / 2 + 0);
    }
  });

  test.each(["iterator", "bpf_loop"] as const)("%s: a million turns", (as) => {
    const program = xdp(
      "million",
      ($) => {
        const seed = $.packet.take(one, { else: () => $.return(XDP_PASS) }).value;
        const hash = $.let(u32, seed);
        $.for(1_000_000, (index) => hash.set(hash.xor(index).mul(0x01000193)), { as });
        return $.return(hash);
      },
      { kernel },
    );
    using loaded = BpfProgram.load(program);
    let hash = 9;
    for (let index = 0; index < 1_000_000; index++) hash = Math.imul(hash ^ index, 0x01000193);
    expect(loaded.testRun({ data: packet(9) }).retval | 0).toBe(hash);
  });

  test("the choice by itself: a million turns for kernels 5.17 and 6.4", () => {
    for (const kernel of ["5.17", "6.4"] as const) {
      const program = xdp(
        "chosen",
        ($) => {
          const sum = $.let(u32, 0);
          $.for(1_000_000, () => sum.set(sum.add(1)));
          return $.return(sum);
        },
        { kernel },
      );
      using loaded = BpfProgram.load(program);
      expect(loaded.testRun({ data: packet(0) }).retval).toBe(1_000_000);
    }
  });

  test.each(["iterator", "bpf_loop"] as const)("%s: each byte of the packet, from its start", (as) => {
    const program = xdp(
      "bytes",
      ($) => {
        const sum = $.let(u32, 0);
        $.for(
          $.packet.length().and(0xffff),
          (index) => {
            $.packet.rewind();
            $.packet.skip(index, { max: 1500, else: () => $.break() });
            sum.set(sum.add($.packet.take(one, { else: () => $.break() }).value));
          },
          { max: 1500, as },
        );
        return $.return(sum);
      },
      { kernel },
    );
    using loaded = BpfProgram.load(program);
    const data = Uint8Array.from({ length: 1000 }, (_, index) => index * 7);
    expect(loaded.testRun({ data }).retval).toBe(data.reduce((sum, byte) => sum + byte, 0));
  });

  test.each(["iterator", "bpf_loop"] as const)(
    "%s: a record for each turn, and a return with none open",
    (as) => {
      const event = struct("event", { at: u32 });
      const ring = mapDef({ name: "ring", type: "ringbuf", maxEntries: 4096 });
      const program = xdp(
        "records",
        ($) => {
          $.for(
            10,
            (index) => {
              const record = $.reserve(ring, event, { else: () => $.return(XDP_DROP) });
              record.at.set(index);
              $.if(index.eq(3), () => {
                $.discard(record);
                return $.return(XDP_DROP);
              });
              $.submit(record);
            },
            { as },
          );
          return $.return(XDP_PASS);
        },
        { kernel },
      );
      using map = BpfMap.create(ring);
      using loaded = BpfProgram.load(program, { maps: [map] });
      expect(loaded.testRun({ data: packet(0) }).retval).toBe(XDP_DROP);
      using reader = RingBuffer.open(map, event);
      expect(reader.take(10)).toEqual([{ at: 0 }, { at: 1 }, { at: 2 }]);
    },
  );
});

describeKernel("the form that is chosen by itself loads, whatever is in the body", () => {
  type Body = ($: XdpScope, index: HostVal<"u32">, sum: Var<"u32">) => unknown;
  const padded = ($: XdpScope, index: HostVal<"u32">, sum: Var<"u32">, size: number): void => {
    for (let n = 0; n < size; n++) sum.set(sum.mul(3).xor(index));
    void $;
  };
  const bodies: Readonly<Record<string, Body>> = {
    "no branch": ($, index, sum) => padded($, index, sum, 40),
    "one fork, small": ($, index, sum) => {
      $.if(sum.has(1), () => sum.set(sum.mul(5).add(index))).else(() => sum.set(sum.shr(1)));
    },
    // What the verifier likes least: it looks for a state that it knows every hundred instructions only.
    "one fork, some instructions": ($, index, sum) => {
      $.if(sum.has(1), () => sum.set(sum.mul(5).add(index))).else(() => sum.set(sum.shr(1)));
      padded($, index, sum, 10);
    },
    "conditions of two parts": ($, index, sum) => {
      for (let n = 0; n < 4; n++) {
        $.if(sum.gt(n * 100).and(sum.lt(n * 1000 + 5000)), () => sum.set(sum.add(3))).else(() =>
          sum.set(sum.xor(index)),
        );
        padded($, index, sum, 5);
      }
    },
    "many forks, large": ($, index, sum) => {
      for (let n = 0; n < 16; n++) {
        $.if(sum.has(1 << n), () => sum.set(sum.mul(5).add(index))).else(() => sum.set(sum.shr(1)));
        padded($, index, sum, 15);
      }
    },
    "many ways out": ($, index, sum) => {
      for (let n = 0; n < 16; n++) $.if(sum.eq(n * 77 + 5), () => $.break());
      sum.set(sum.mul(7).add(index));
    },
    "a loop inside": ($, index, sum) => {
      $.for(6, (inner) => {
        $.if(sum.has(2), () => sum.set(sum.mul(5).add(inner))).else(() => sum.set(sum.shr(1)));
        sum.set(sum.xor(index));
      });
    },
  };

  describe.each(["5.17", "6.4"] as const)("kernel %s", (kernel) => {
    test.each(Object.entries(bodies))("%s", (_, body) => {
      for (const turns of [3, 8, 9, 33, 65, 300, 1025, 4096, 5000]) {
        const program = xdp(
          "chosen",
          ($) => {
            const { value } = $.packet.take(one, { else: () => $.return(XDP_PASS) });
            const sum = $.let(u32, value);
            $.for(turns, (index) => void body($, index, sum));
            return $.return(sum);
          },
          { kernel },
        );
        expect(() => BpfProgram.load(program).close(), `${turns} turns`).not.toThrow();
      }
    });
  });
});

describeKernel("the packet after a branch that moved it", () => {
  test("the other branch goes on where it was", () => {
    const program = xdp("branches", ($) => {
      const pass = { else: () => $.return(XDP_PASS) };
      const first = $.packet.take(one, pass).value;
      return $.if(first.eq(1), () => {
        $.if($.bpf_xdp_adjust_head(8).ne(0), pass.else);
        return $.return($.packet.take(one, pass).value);
      }).else(() => $.return($.packet.take(one, pass).value));
    });
    using loaded = BpfProgram.load(program);
    expect(loaded.testRun({ data: packet(1, 20, 0, 0, 0, 0, 0, 0, 40) }).retval).toBe(40);
    expect(loaded.testRun({ data: packet(2, 20, 0, 0, 0, 0, 0, 0, 40) }).retval).toBe(20);
  });
});
