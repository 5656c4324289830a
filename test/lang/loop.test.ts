import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { assemble, mapDef } from "../../src/asm/index.ts";
import { struct, u32 } from "../../src/btf/layout/index.ts";
import { type LangOptions, type LoopForm, XDP_PASS, type XdpScope, xdp } from "../../src/lang/index.ts";
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
