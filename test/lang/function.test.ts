import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { assemble } from "../../src/asm/index.ts";
import { array, s32, struct, u32, u64 } from "../../src/btf/layout/index.ts";
import { func, type LangFunction, TC_ACT_OK, tc, XDP_PASS, xdp } from "../../src/lang/index.ts";
import { refusal } from "./refusal.ts";

const refused = (body: () => unknown): string => refusal(fileURLToPath(import.meta.url), body);

describe("a function of one's own", () => {
  const twice = func("twice", [u32], u32, ($, a) => $.return(a.add(a)));

  test("is in the program once, however often it is called", () => {
    const program = xdp("calls", ($) =>
      $.return($.call(twice, $.call(twice, $.ctx.rx_queue_index)).add($.call(twice, 1))),
    );
    const { functions } = assemble(program);
    expect(functions.map(({ name }) => name)).toEqual(["calls", "twice"]);
  });

  test("whose result nobody uses is not called", () => {
    const program = xdp("unused", ($) => {
      $.call(twice, 1);
      return $.return(XDP_PASS);
    });
    expect(assemble(program).functions).toHaveLength(1);
  });
});

describe("functions that cannot be built", () => {
  test("too many arguments", () => {
    expect(
      refused(() =>
        func(
          "six",
          // @ts-expect-error a function takes at most 5 arguments: the kernel passes them in r1 to r5
          [u32, u32, u32, u32, u32, u32],
          u32,
          // biome-ignore lint/suspicious/noExplicitAny: the arguments have no types then
          ($: any) => $.return(0),
        ),
      ),
    ).toBe("function 'six' takes 6 arguments");
  });

  test("an argument that is no number", () => {
    const pair = struct("pair", { a: u32, b: u32 });
    // @ts-expect-error A struct is no scalar.
    expect(refused(() => func("view", [pair], u32, ($) => $.return(0)))).toBe(
      "function 'view' takes an argument that is no number",
    );
  });

  test("a name that C does not take", () => {
    expect(refused(() => func("a-b", [], u32, ($) => $.return(0)))).toBe("'a-b' is no name for a function");
  });

  test("one that may run off its end", () => {
    // @ts-expect-error this function may run off its end: end each path of it with return $.return(...)
    const open = func("open", [u32], u32, ($, a) => {
      $.if(a.eq(1), () => $.return(1));
    });
    expect(refused(() => xdp("p", ($) => $.return($.call(open, 1))))).toBe(
      "function 'open' may run off its end",
    );
  });

  test("recursion", () => {
    const itself: LangFunction<readonly [typeof u32], "u32"> = func("itself", [u32], u32, ($, a) =>
      $.return($.call(itself, a)),
    );
    expect(refused(() => xdp("p", ($) => $.return($.call(itself, 1))))).toBe(
      "function 'itself' calls itself",
    );
    const ping: LangFunction<readonly [typeof u32], "u32"> = func("ping", [u32], u32, ($, a) =>
      $.return($.call(pong, a)),
    );
    const pong = func("pong", [u32], u32, ($, a) => $.return($.call(ping, a)));
    expect(refused(() => xdp("p", ($) => $.return($.call(ping, 1))))).toBe(
      "function 'ping' calls itself, by way of 'pong'",
    );
  });

  test("a helper that the calling program may not call", () => {
    const load = func("load", [u32], u32, ($, mark) => {
      $.bpf_set_hash_invalid();
      return $.return(mark);
    });
    tc("fine", ($) => {
      $.call(load, 1);
      return $.return(TC_ACT_OK);
    });
    expect(refused(() => xdp("p", ($) => $.return($.call(load, 1))))).toBe(
      "bpf_set_hash_invalid may not be called from a program of type xdp",
    );
  });

  test("arguments: how many, and of which kind", () => {
    const mix = func("mix", [u32, u32], u32, ($, a, b) => $.return(a.xor(b)));
    // @ts-expect-error An argument is missing.
    expect(refused(() => xdp("p", ($) => $.return($.call(mix, 1))))).toBe(
      "'mix' takes 2 arguments, and 1 are given",
    );
    // @ts-expect-error A u64 may not fit into a u32.
    expect(refused(() => xdp("p", ($) => $.return($.call(mix, 1, $.bpf_ktime_get_ns()))))).toBe(
      "a u64 may not fit into a u32: convert one of them with .to(...) first",
    );
  });

  test("what belongs to the caller", () => {
    expect(
      refused(() =>
        xdp("p", ($) => {
          const queue = $.let(u32, $.ctx.rx_queue_index);
          const inner = func("inner", [], u32, (_) => {
            queue.set(1);
            return _.return(0);
          });
          return $.return($.call(inner));
        }),
      ),
    ).toBe("the body of function 'inner' uses what belongs to its caller");
    expect(
      refused(() =>
        xdp("p", ($) => {
          const time = $.bpf_ktime_get_ns();
          const inner = func("inner", [], u64, (_) => _.return(time));
          return $.return($.call(inner).to(u32));
        }),
      ),
    ).toBe("a value of one program or function is used in another");
    expect(
      refused(() =>
        xdp("p", ($) => {
          const condition = $.ctx.rx_queue_index.eq(1);
          const inner = func("inner", [], u32, (_) => {
            _.if(condition, () => _.return(1));
            return _.return(0);
          });
          return $.return($.call(inner));
        }),
      ),
    ).toBe("a condition of one program or function is used in another");
    expect(
      refused(() =>
        xdp("p", ($) => {
          const pair = $.struct(struct("pair", { a: u32, b: u32 }));
          const inner = func("inner", [], u32, (_) => {
            _.copy(_.struct(struct("pair", { a: u32, b: u32 })), pair);
            return _.return(0);
          });
          return $.return($.call(inner));
        }),
      ),
    ).toBe("the struct pair in the stack is used in another program or function than the one that has it");
  });

  test("more stack than they have together", () => {
    const big = struct("big", { words: array(u64, 40) });
    const inner = func("inner", [u32], u32, ($, at) => {
      const room = $.struct(big);
      return $.return(room.words.at(at, { else: () => $.return(0) }).to(u32));
    });
    expect(
      refused(() =>
        xdp("outer", ($) => {
          const room = $.struct(big);
          const word = room.words.at($.ctx.rx_queue_index, { else: () => $.return(XDP_PASS) });
          return $.return($.call(inner, 1).add(word.to(u32)));
        }),
      ),
    ).toBe("'outer' and the functions that it calls need 640 bytes of stack together, and have 512");
  });

  test("more calls inside of each other than the kernel has room for", () => {
    let top = func("f0", [u32], u32, ($, a) => $.return(a.add($.bpf_get_prandom_u32())));
    for (let depth = 1; depth < 8; depth++) {
      const below = top;
      top = func(`f${depth}`, [u32], u32, ($, a) => $.return($.call(below, a)));
    }
    expect(refused(() => xdp("p", ($) => $.return($.call(top, 1))))).toBe(
      "9 functions call each other, and the kernel has room for 8",
    );
  });

  test("five arguments and the context", () => {
    const full = func("full", [u32, u32, u32, u32, u32], u32, ($) => {
      $.bpf_xdp_adjust_head(4);
      return $.return(0);
    });
    expect(refused(() => xdp("p", ($) => $.return($.call(full, 1, 2, 3, 4, 5))))).toBe(
      "function 'full' takes 5 arguments, and calls a helper that takes the context",
    );
  });

  test("packet memory after a function that moves the packet", () => {
    const cut = func("cut", [u32], u32, ($, by) => $.return($.bpf_xdp_adjust_head(by.to(s32)).to(u32)));
    expect(
      refused(() =>
        xdp("p", ($) => {
          const first = $.packet.take(struct("word", { value: u32 }), { else: () => $.return(XDP_PASS) });
          $.call(cut, 4);
          return $.return(first.value);
        }),
      ),
    ).toBe(
      "the struct word of the packet cannot be used any more: bpf_xdp_adjust_head in 'cut' may have moved the packet",
    );
  });
});
