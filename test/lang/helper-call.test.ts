import { describe, expect, test } from "vitest";
import { mapFd } from "../../src/asm/load-store.ts";
import { mapDef } from "../../src/asm/map-def.ts";
import { be16, struct, u32, u64 } from "../../src/btf/layout/index.ts";
import { helperMethods } from "../../src/lang/call/helper-call.ts";
import { LangError } from "../../src/lang/error.ts";
import type { IrCall, IrFunction, IrNode, IrParam } from "../../src/lang/ir/ir.ts";
import { createRecorder, type Recorder } from "../../src/lang/recorder.ts";
import { makeVal } from "../../src/lang/scalar.ts";
import { internals, type Pointer } from "../../src/lang/value.ts";
import { makeStackView } from "../../src/lang/view.ts";

const key = struct("key", { port: be16, other: be16 });
const hits = mapDef({ name: "hits", type: "hash", key, value: u64, maxEntries: 4 });
const cpus = mapDef({ name: "cpus", type: "cpumap", key: u32, value: u32, maxEntries: 4 });

const context: IrParam = { kind: "param", index: 0, pointer: "ctx", source: undefined };

function start(): Recorder {
  const fn: IrFunction = { name: "test", params: [context], blocks: [], slots: [] };
  return createRecorder(fn, { isa: 3, kernel: [6, 1] }, "xdp", "xdp");
}

const nodesOf = (recorder: Recorder): readonly IrNode[] => recorder.block?.nodes ?? [];
const callOf = (recorder: Recorder): IrCall =>
  nodesOf(recorder).findLast((node) => node.kind === "call") as IrCall;
const stack = (recorder: Recorder, layout: typeof key | typeof four) =>
  makeStackView(recorder, layout, undefined, { scratch: false, name: "object" });
const four = struct("four", { at: u32 });

/** The reason of what a body throws. */
function refusal(body: () => unknown): string {
  try {
    body();
  } catch (error) {
    if (error instanceof LangError) return error.message.split("\n")[0] ?? "";
    throw error;
  }
  return "nothing";
}

describe("calling a helper records the call", () => {
  test("with a map and numbers", () => {
    const recorder = start();
    const xdp = helperMethods(recorder, "xdp", context);
    const cpu = xdp.bpf_get_smp_processor_id();
    expect(cpu.kind).toBe("u32");
    expect(callOf(recorder)).toMatchObject({ args: [], pure: true, removable: true, reads: [], writes: [] });
    const action = xdp.bpf_redirect_map(cpus, cpu, 2);
    expect(action.kind).toBe("s64");
    expect(callOf(recorder)).toMatchObject({
      args: [
        { kind: "address", pointer: "map", target: mapFd(cpus) },
        { kind: "call" },
        { kind: "const", value: 2n },
      ],
      pure: false,
      removable: false,
    });
  });

  test("with the context, and memory that it writes", () => {
    const recorder = start();
    const tc = helperMethods(recorder, "sched_cls", context);
    tc.bpf_skb_load_bytes(14, stack(recorder, four) as never, 4);
    const { args, reads, writes } = callOf(recorder);
    expect(args[0]).toBe(context);
    expect(args[2]).toMatchObject({ kind: "frame", pointer: "stack" });
    expect([reads, writes]).toEqual([["ctx", "packet"], ["stack"]]);
  });

  test("null where it may be", () => {
    const recorder = start();
    const tc = helperMethods(recorder, "sched_cls", context);
    tc.bpf_csum_diff(null, 0, stack(recorder, four) as never, 4, 0);
    expect(callOf(recorder).args[0]).toMatchObject({ kind: "const", value: 0n });
    expect(callOf(recorder).reads).toEqual(["stack"]);
  });

  test("a lookup gives a pointer that may be null", () => {
    const recorder = start();
    const found = helperMethods(recorder, "xdp", context).bpf_map_lookup_elem(
      hits,
      stack(recorder, key) as never,
    );
    expect(found.nullable).toBe("map_value");
    expect(callOf(recorder)).toMatchObject({ pointer: "map_value", reads: ["stack"], removable: true });
  });

  test("a signed 32-bit result has zeros above", () => {
    const recorder = start();
    const value = helperMethods(recorder, "cgroup_sock", context).bpf_get_retval();
    expect(value.kind).toBe("s32");
    expect(nodesOf(recorder).at(-1)).toMatchObject({ kind: "unary", op: "zext32" });
  });

  test("more arguments, up to five", () => {
    const recorder = start();
    const xdp = helperMethods(recorder, "xdp", context);
    const format = stack(recorder, four) as never;
    xdp.bpf_trace_printk(format, 4, 1, 2, 3);
    expect(callOf(recorder).args).toHaveLength(5);
    expect(refusal(() => xdp.bpf_trace_printk(format, 4, 1, 2, 3, 4))).toBe(
      "bpf_trace_printk is called with 6 arguments",
    );
  });

  test("a pointer in place of the context", () => {
    const recorder = start();
    const sk = { tag: "sock", [internals]: { value: context } } as Pointer<"sock">;
    helperMethods(recorder, "tracing", context).bpf_get_socket_cookie(sk);
    expect(callOf(recorder).args).toEqual([context]);
  });

  test("moves the packet", () => {
    const recorder = start();
    const { epoch } = recorder;
    helperMethods(recorder, "xdp", context).bpf_xdp_adjust_head(-8);
    expect(recorder.epoch).toBe(epoch + 1);
    expect(recorder.movedBy).toBe("bpf_xdp_adjust_head");
    expect(callOf(recorder).writes).toEqual(["ctx", "packet"]);
  });
});

describe("what the types would refuse, for those who have none", () => {
  const recorder = start();
  // biome-ignore lint/suspicious/noExplicitAny: that is what somebody without types has
  const xdp = helperMethods(recorder, "xdp", context) as any;
  const small = stack(recorder, four);

  test.each([
    [
      "a map of another type",
      () => xdp.bpf_redirect_map(hits, 0, 0),
      "bpf_redirect_map takes no map of type hash, such as 'hits'",
    ],
    ["no map", () => xdp.bpf_redirect_map(1, 0, 0), "1 stands where bpf_redirect_map takes a map"],
    ["too few", () => xdp.bpf_redirect_map(cpus), "bpf_redirect_map takes 3 arguments, and 1 are given"],
    [
      "a value that may not fit",
      () => xdp.bpf_xdp_adjust_head(makeVal(recorder, "u32", context)),
      "a u32 may not fit into an s32: convert one of them with .to(...) first",
    ],
    ["no memory", () => xdp.bpf_map_lookup_elem(hits, 5), "5 has no address"],
    [
      "too little memory",
      () => xdp.bpf_map_update_elem(hits, small, small, 0),
      "bpf_map_update_elem takes 8 bytes as 'value', and 4 are given",
    ],
    [
      "a length beyond the memory",
      () => xdp.bpf_xdp_load_bytes(0, small, 8),
      "bpf_xdp_load_bytes takes 8 bytes as 'buf', and 4 are given",
    ],
    [
      "a pointer that may be null",
      () => xdp.bpf_sk_release({ nullable: "bpf_sock", [internals]: { value: context } }),
      "the pointer that bpf_sk_release takes as 'sock' may be null",
    ],
    [
      "a pointer to something else",
      () => xdp.bpf_sk_release({ tag: "task_struct", [internals]: { value: context } }),
      "bpf_sk_release takes no pointer to task_struct as 'sock'",
    ],
  ])("%s", (_, body, reason) => {
    expect(refusal(body)).toBe(reason);
  });

  test("a helper of other program types is not there", () => {
    expect(xdp.bpf_skb_load_bytes).toBeUndefined();
  });
});
