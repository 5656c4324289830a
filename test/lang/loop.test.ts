import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { assemble, mapDef } from "../../src/asm/index.ts";
import { struct, u8, u32 } from "../../src/btf/layout/index.ts";
import {
  type HostVal,
  type LangOptions,
  type LoopForm,
  type Var,
  XDP_PASS,
  type XdpScope,
  xdp,
} from "../../src/lang/index.ts";
import { refusal } from "./refusal.ts";

const refused = (body: () => unknown): string => refusal(fileURLToPath(import.meta.url), body);

/** A program of one loop, with a variable that counts its turns. */
function looping(count: number, as?: LoopForm, options: LangOptions = {}) {
  return xdp(
    "looping",
    ($) => {
      const sum = $.let(u32, 0);
      $.for(count, (index) => sum.set(sum.xor(index).mul(3)), as === undefined ? {} : { as });
      return $.return(sum);
    },
    options,
  );
}

/** What of it shows how a program's loop was made. */
function formOf(program: ReturnType<typeof looping>): string {
  const { functions, lines } = assemble(program);
  if (functions.length === 2) return "bpf_loop";
  if (lines.some(({ insn }) => insn.ref?.kind === "kfunc")) return "iterator";
  return lines.some(({ insn }) => insn.ref?.kind === "label") ? "loop" : "unroll";
}

describe("how a loop is made", () => {
  test.each([
    [2, "5.10", "unroll"],
    [3, "6.4", "loop"],
    [4096, "6.4", "loop"],
    [4097, "6.4", "iterator"],
    [4097, "6.3", "bpf_loop"],
    [4097, "5.17", "bpf_loop"],
  ] as const)("%i turns for kernel %s: %s", (count, kernel, form) => {
    expect(formOf(looping(count, undefined, { kernel }))).toBe(form);
  });

  test.each(["unroll", "loop", "iterator", "bpf_loop"] as const)("as it was asked for: %s", (as) => {
    expect(formOf(looping(5, as, { kernel: "6.4" }))).toBe(as === "unroll" ? "unroll" : as);
  });
});

describe("how a loop is made, by what a turn costs the verifier", () => {
  type Body = ($: XdpScope, index: HostVal<"u32">, sum: Var<"u32">) => unknown;
  /** So many branches that come together again, by what only the running program knows. */
  const forking =
    (count: number): Body =>
    ($, index, sum) => {
      for (let n = 0; n < count; n++) $.if(sum.has(1 << n), () => sum.set(sum.mul(3).xor(index)));
    };
  const straight =
    (count: number): Body =>
    (_, index, sum) => {
      for (let n = 0; n < count; n++) sum.set(sum.mul(3).xor(index));
    };
  const leaving =
    (count: number): Body =>
    ($, index, sum) => {
      for (let n = 0; n < count; n++) $.if(sum.eq(n * 77), () => $.break());
      sum.set(sum.add(index));
    };
  const chosen = (turns: number, body: Body, kernel: "5.10" | "5.17" | "6.4"): string =>
    formOf(
      xdp(
        "looping",
        ($) => {
          const sum = $.let(u32, $.bpf_get_prandom_u32());
          $.for(turns, (index) => void body($, index, sum));
          return $.return(sum);
        },
        { kernel },
      ),
    );

  test.each([
    ["4096 turns of a few instructions", 4096, straight(4), "loop"],
    ["1000 of more", 1000, straight(50), "loop"],
    ["4000 of more", 4000, straight(50), "iterator"],
    ["few turns, whatever is in them", 8, forking(20), "loop"],
    ["16 turns with 2 forks", 16, forking(2), "loop"],
    ["17 turns with 2 forks", 17, forking(2), "iterator"],
    ["9 turns with 7 forks", 9, forking(7), "iterator"],
    ["9 turns with 8 forks", 9, forking(8), "bpf_loop"],
    ["1024 turns with 4 ways out", 1024, leaving(4), "loop"],
    ["1025 turns with 4 ways out", 1025, leaving(4), "iterator"],
  ] as const)("%s", (_, turns, body, form) => {
    expect(chosen(turns, body, "6.4")).toBe(form);
    expect(chosen(turns, body, "5.17")).toBe(form === "iterator" ? "bpf_loop" : form);
    // There is no other way on older kernels.
    expect(chosen(turns, body, "5.10")).toBe("loop");
  });

  test("the turns of an inner loop count", () => {
    const nested =
      (inner: number): Body =>
      ($, index, sum) =>
        $.for(inner, () => void forking(1)($, index, sum), { as: "loop" });
    expect(chosen(10, nested(3), "6.4")).toBe("loop");
    expect(chosen(10, nested(4), "6.4")).toBe("iterator");
  });

  test("a loop stays one where each turn is another one for the verifier", () => {
    const one = struct("one", { value: u8 });
    const packets = xdp(
      "packets",
      ($) => {
        const sum = $.let(u32, 0);
        $.for(200, () => {
          const { value } = $.packet.take(one, { else: () => $.break() });
          $.if(value.has(1), () => sum.set(sum.add(value.to(u32))));
        });
        return $.return(sum);
      },
      { kernel: "6.4" },
    );
    expect(formOf(packets)).toBe("loop");
    // A counter of constant steps, which decides something.
    const counting: Body = ($, index, sum) => {
      const counter = $.let(u32, 0);
      $.for(100, () => {
        forking(2)($, index, sum);
        $.if(counter.lt(50), () => sum.set(sum.add(7)));
        counter.set(counter.add(1));
      });
    };
    expect(chosen(1, counting, "6.4")).toBe("loop");
  });

  test("a record from before the loop that its body submits keeps it from becoming a function", () => {
    const event = struct("event", { at: u32 });
    const ring = mapDef({ name: "ring", type: "ringbuf", maxEntries: 4096 });
    const program = xdp(
      "record",
      ($) => {
        const sum = $.let(u32, $.bpf_get_prandom_u32());
        const record = $.reserve(ring, event, { else: () => $.return(XDP_PASS) });
        $.for(100, (index) => {
          forking(2)($, index, sum);
          $.if(sum.eq(9), () => {
            $.submit(record);
            return $.return(XDP_PASS);
          });
        });
        $.submit(record);
        return $.return(sum);
      },
      { kernel: "5.17" },
    );
    expect(formOf(program)).toBe("loop");
  });
});

describe("loops that cannot be built", () => {
  test("too many turns for an old kernel", () => {
    expect(refused(() => looping(5000))).toBe(
      "a loop of up to 5000 turns is too long for kernel 5.10 to follow turn by turn",
    );
    expect(refused(() => looping(5000, "loop"))).toBe("nothing");
  });

  test("a form that the kernel does not have", () => {
    expect(refused(() => looping(5, "iterator", { kernel: "6.3" }))).toBe(
      "kernel 6.3 has no number iterator, which a loop is asked to use",
    );
    expect(refused(() => looping(5, "bpf_loop", { kernel: "5.16" }))).toBe(
      "kernel 5.16 has no bpf_loop, which a loop is asked to use",
    );
  });

  test("more turns than the kernel runs", () => {
    expect(refused(() => looping(10_000_000, undefined, { kernel: "6.4" }))).toBe(
      "a loop of up to 10000000 turns is more than the kernel runs, which is 8388608",
    );
  });

  const event = struct("event", { at: u32 });
  const ring = mapDef({ name: "ring", type: "ringbuf", maxEntries: 4096 });
  const withRecord = (as: LoopForm, body: ($: XdpScope, submit: () => void) => void) => (): unknown =>
    xdp(
      "record",
      ($) => {
        const record = $.reserve(ring, event, { else: () => $.return(XDP_PASS) });
        $.for(5, () => body($, () => $.submit(record)), { as });
        $.submit(record);
        return $.return(XDP_PASS);
      },
      { kernel: "6.4" },
    );

  test("a record from before the loop that each turn would submit", () => {
    expect(refused(withRecord("loop", (_, submit) => submit()))).toBe(
      "the record of 'ring' is submitted or discarded in a loop that goes on",
    );
  });

  test("a record that is submitted on the way out of the loop only", () => {
    expect(
      refused(
        withRecord("iterator", ($, submit) => {
          $.if($.ctx.rx_queue_index.eq(1), () => {
            submit();
            return $.break();
          });
        }),
      ),
    ).toBe("the record of 'ring' was submitted or discarded before");
  });

  test("a record from before the loop that is submitted in a body that is a function", () => {
    expect(
      refused(
        withRecord("bpf_loop", ($, submit) => {
          submit();
          return $.return(XDP_PASS);
        }),
      ),
    ).toBe(
      "the record of 'ring' is from before a loop whose body is a function (bpf_loop), and is submitted in it",
    );
  });
});
