import { describe, expectTypeOf, test } from "vitest";
import {
  aadd64,
  add,
  assemble,
  type CheckBlock,
  call,
  callback,
  exit,
  type Insn,
  jeq,
  jgt,
  jne,
  kfunc,
  lddw,
  ldxb,
  ldxw,
  type MapDef,
  type Misuse,
  mapDef,
  mapFd,
  mayGoto,
  mov,
  mov32,
  neg,
  type Program,
  printk,
  r0,
  r1,
  r2,
  r3,
  r4,
  r6,
  r10,
  type Subprogram,
  schedCls,
  stxw,
  subprogram,
  xdp,
} from "../../src/asm/index.ts";
import { u32, u64 } from "../../src/btf/layout/index.ts";
import { TC_ACT_OK, XDP_PASS } from "../../src/uapi/bpf.ts";
import {
  bpf_get_smp_processor_id,
  bpf_map_lookup_elem,
  bpf_redirect_map,
  bpf_skb_load_bytes,
  bpf_xdp_adjust_head,
} from "../../src/uapi/helpers.ts";
import { __sk_buff, iphdr } from "../../src/uapi/structs.ts";

const ETH_HLEN = 14;
const bytesByProto = mapDef({ name: "bytes_by_proto", type: "array", key: u32, value: u64, maxEntries: 256 });

describe("programs that are right compile", () => {
  test("the flagship", () => {
    const sameCpu = (cpus: MapDef<"cpumap">) =>
      xdp("xdp_same_cpu", {
        entry: [
          call(bpf_get_smp_processor_id),
          mov32(r6, r0),
          ...printk("[XDP       ] cpu=%d\n", r6),
          lddw(r1, mapFd(cpus)),
          mov32(r2, r6),
          mov32(r3, XDP_PASS),
          call(bpf_redirect_map),
          exit(),
        ],
      });
    expectTypeOf(sameCpu).returns.toEqualTypeOf<Program<"xdp">>();
  });

  test("jumps, maps and memory", () => {
    const countBytes = schedCls("count_bytes", {
      entry: [
        ...[mov(r6, r1), mov32(r2, ETH_HLEN + iphdr.protocol), mov(r3, r10), add(r3, -8), mov32(r4, 1)],
        ...[call(bpf_skb_load_bytes), jne(r0, 0, "out")],
        ...[ldxb(r1, [r10, -8]), stxw([r10, -4], r1)],
        ...[lddw(r1, mapFd(bytesByProto)), mov(r2, r10), add(r2, -4)],
        ...[call(bpf_map_lookup_elem), jeq(r0, 0, "out")],
        ...[ldxw(r1, [r6, __sk_buff.len]), aadd64([r0, 0], r1)],
      ],
      out: [mov32(r0, TC_ACT_OK), exit()],
    });
    expectTypeOf(countBytes).toEqualTypeOf<Program<"sched_cls">>();
    expectTypeOf(assemble).parameter(0).toEqualTypeOf<Program>();
    assemble(countBytes);
  });

  test("macros, and blocks written elsewhere", () => {
    const returns = (verdict: number) => [mov32(r0, verdict), exit()];
    const unless = <const Label extends string>(label: Label) => [jeq(r1, 0, label), mayGoto(label)];
    xdp("macros", { entry: [...unless("out"), ...unless("entry")], out: returns(XDP_PASS) });
  });

  test("subprograms know which helpers they need, through calls and callbacks", () => {
    const inner = subprogram("inner", { entry: [call(bpf_xdp_adjust_head), exit()] });
    const outer = subprogram("outer", {
      entry: [lddw(r2, callback(inner)), call(bpf_map_lookup_elem), exit()],
    });
    expectTypeOf(outer).toEqualTypeOf<Subprogram<"bpf_map_lookup_elem" | "bpf_xdp_adjust_head">>();
    xdp("calls", { entry: [call(outer), call(kfunc("bpf_rcu_read_lock")), exit()] });
  });

  test("constants of up to ten digits, and numbers that are not literals", () => {
    const some: number = Date.now();
    mov(r1, 0x7fff_ffff);
    mov32(r1, 0xffff_ffff);
    mov(r1, -0x8000_0000);
    mov(r1, some);
    jgt(r1, -1, "out");
    lddw(r1, 0xffff_ffff_ffff_ffffn);
  });
});

describe("misuse does not compile", () => {
  test("writing r10", () => {
    // @ts-expect-error r10 is read-only
    add(r10, -8);
    // @ts-expect-error r10 is read-only
    neg(r10);
    // @ts-expect-error r10 is read-only
    ldxw(r10, [r1, 0]);
    // @ts-expect-error r10 is read-only
    lddw(r10, 1);
    mov(r2, r10);
    stxw([r10, -8], r1);
  });

  test("a label that no block has", () => {
    xdp("label", {
      // @ts-expect-error no block of this program is named 'uot'
      entry: [jeq(r1, 0, "uot"), exit()],
      out: [exit()],
    });
    const blocks = ["entry", "out"] as const;
    type Entry = CheckBlock<readonly Insn<"uot" | "out", never>[], (typeof blocks)[number], "xdp">;
    expectTypeOf<Entry>().toEqualTypeOf<Misuse<"no block of this program is named 'uot'">>();
    type Fine = CheckBlock<readonly Insn<"out", never>[], (typeof blocks)[number], "xdp">;
    expectTypeOf<Fine>().toBeUnknown();
  });

  test("a helper of another program type", () => {
    // @ts-expect-error bpf_skb_load_bytes may not be called from a program of type xdp
    xdp("helper", { entry: [call(bpf_skb_load_bytes), exit()] });
    schedCls("helper", { entry: [call(bpf_skb_load_bytes), exit()] });
    // @ts-expect-error bpf_xdp_adjust_head may not be called from a program of type sched_cls
    schedCls("helper", { entry: [call(bpf_xdp_adjust_head), exit()] });
    const inner = subprogram("inner", { entry: [call(bpf_xdp_adjust_head), exit()] });
    // @ts-expect-error nor through a subprogram
    schedCls("helper", { entry: [call(inner), exit()] });
    type Entry = CheckBlock<readonly Insn<never, "bpf_skb_load_bytes">[], "entry", "xdp">;
    expectTypeOf<Entry>().toEqualTypeOf<
      Misuse<"bpf_skb_load_bytes may not be called from a program of type xdp">
    >();
  });

  test("a 64-bit constant", () => {
    // @ts-expect-error a bigint
    mov(r1, 1n);
    // @ts-expect-error eleven digits
    mov(r1, 10_000_000_000);
    // @ts-expect-error eleven digits and a sign
    add(r1, -10_000_000_000);
    // @ts-expect-error in a jump
    jgt(r1, 0xffff_ffff_ffff, "out");
  });

  test("a map of an unknown type", () => {
    // @ts-expect-error the name is cpumap
    mapDef({ name: "cpus", type: "cpu_map", maxEntries: 4 });
  });
});
