import { describe, expectTypeOf, test } from "vitest";
import { mapDef } from "../../src/asm/map-def.ts";
import { u32, u64 } from "../../src/btf/layout/index.ts";
import type { HelperMethodsOf } from "../../src/lang/generated/helper-methods.ts";
import type { Addressable, HostVal, Nullable, Pointer, WireVal } from "../../src/lang/value.ts";
import type { HelperProgType } from "../../src/uapi/helpers.ts";

declare const xdp: HelperMethodsOf<"xdp">;
declare const tc: HelperMethodsOf<"sched_cls">;
declare const tracing: HelperMethodsOf<"tracing">;
declare const cpu: HostVal<"u32">;
declare const port: WireVal<"be16">;
declare const delta: HostVal<"u32">;
declare const memory: Addressable;

const cpus = mapDef({ name: "cpus", type: "cpumap", key: u32, value: u32, maxEntries: 4 });
const hits = mapDef({ name: "hits", type: "array", key: u32, value: u64, maxEntries: 4 });

describe("helpers as methods", () => {
  test("right calls compile, without the context", () => {
    expectTypeOf(xdp.bpf_redirect_map(cpus, cpu, 2)).toEqualTypeOf<HostVal<"s64">>();
    expectTypeOf(xdp.bpf_get_smp_processor_id()).toEqualTypeOf<HostVal<"u32">>();
    expectTypeOf(xdp.bpf_xdp_adjust_head(-8)).toEqualTypeOf<HostVal<"s64">>();
    expectTypeOf(xdp.bpf_map_lookup_elem(hits, memory)).toEqualTypeOf<Nullable<"map_value">>();
    expectTypeOf(tc.bpf_skb_vlan_push(0x8100, 5)).toEqualTypeOf<HostVal<"s64">>();
    expectTypeOf(tc.bpf_skb_vlan_push(port, 5)).toEqualTypeOf<HostVal<"s64">>();
    expectTypeOf(tc.bpf_csum_diff(null, 0, memory, 4, 0)).toEqualTypeOf<HostVal<"s64">>();
    expectTypeOf(tc.bpf_get_socket_cookie()).toEqualTypeOf<HostVal<"u64">>();
    expectTypeOf(tracing.bpf_get_current_task_btf()).toEqualTypeOf<Pointer<"task_struct">>();
    expectTypeOf(tc.bpf_trace_printk(memory, 8, cpu, 1n)).toEqualTypeOf<HostVal<"s64">>();
  });

  test("a helper that the program type may not call", () => {
    // @ts-expect-error Property 'bpf_skb_load_bytes' does not exist on type 'XdpHelperMethods'.
    xdp.bpf_skb_load_bytes(0, memory, 4);
    // @ts-expect-error Property 'bpf_xdp_adjust_head' does not exist on type 'SchedClsHelperMethods'.
    tc.bpf_xdp_adjust_head(-8);
  });

  test("a map of a type that the helper does not take", () => {
    // @ts-expect-error Type '"array"' is not assignable to type '"devmap" | "devmap_hash" | "cpumap" | "xskmap"'.
    xdp.bpf_redirect_map(hits, cpu, 2);
    // @ts-expect-error Type '"cpumap"' is not assignable to the types of maps that programs can look into.
    xdp.bpf_map_lookup_elem(cpus, memory);
    // @ts-expect-error The elements of an array cannot be deleted.
    xdp.bpf_map_delete_elem(hits, memory);
  });

  test("numbers that may not fit", () => {
    // @ts-expect-error A u32 may not fit into the s32 that the helper takes.
    xdp.bpf_xdp_adjust_head(delta);
    // @ts-expect-error A be16 is no host number.
    xdp.bpf_redirect_map(cpus, port, 2);
    // @ts-expect-error A host number is no be16.
    tc.bpf_skb_vlan_push(cpu, 5);
  });

  test("null where it is not fine, and a value where memory is wanted", () => {
    // @ts-expect-error The helper wants memory.
    tc.bpf_skb_load_bytes(0, null, 4);
    // @ts-expect-error A computed value has no address.
    tc.bpf_skb_load_bytes(0, cpu, 4);
  });

  test("there is a set of methods for each program type", () => {
    expectTypeOf<HelperMethodsOf<HelperProgType>["bpf_ktime_get_ns"]>().returns.toEqualTypeOf<
      HostVal<"u64">
    >();
  });
});
