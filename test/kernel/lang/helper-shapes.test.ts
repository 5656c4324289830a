import { afterAll, expect, test } from "vitest";
import { add, mov } from "../../../src/asm/alu.ts";
import { call } from "../../../src/asm/call.ts";
import type { Insn } from "../../../src/asm/insn.ts";
import { exit, jgt } from "../../../src/asm/jump.ts";
import { lddw, ldxb, ldxw, mapFd, mapValue, stdw } from "../../../src/asm/load-store.ts";
import { type MapDef, type MapTypeName, mapDef } from "../../../src/asm/map-def.ts";
import { type AttachTypeName, type ProgTypeName, program } from "../../../src/asm/program.ts";
import { r0, r1, r2, r3, r4, r5, r6, r7, r10, type WritableRegister } from "../../../src/asm/register.ts";
import { bytes, u32 } from "../../../src/btf/layout/index.ts";
import { BpfMap } from "../../../src/kernel/map.ts";
import { BpfProgram } from "../../../src/kernel/program.ts";
import type { HelperShape, MemoryParam } from "../../../src/lang/call/helper-shape.ts";
import { helperShapes } from "../../../src/lang/generated/helper-shapes.ts";
import { BPF_F_NO_PREALLOC, BPF_F_RDONLY_PROG } from "../../../src/uapi/bpf.ts";
import { baseHelperIds, type HelperProgType, helperProgTypes } from "../../../src/uapi/helpers.ts";
import { describeKernel } from "../../support/privileges.ts";

// Each entry of the table is asked of the verifier: the call loads with such arguments as the entry says, memory that is
// said to be read may be read-only, memory that is said to be written may not, and packet pointers survive or not.

/** Program types to try a helper in, with an attach type that has it. */
const TYPES: readonly (readonly [ProgTypeName & HelperProgType, AttachTypeName?])[] = [
  ["xdp"],
  ["sched_cls"],
  ["cgroup_skb", "cgroup_inet_egress"],
  ["cgroup_sock", "cgroup_inet_sock_create"],
  ["sock_ops"],
  ["sk_msg"],
  ["sk_skb", "sk_skb_stream_verdict"],
  ["sk_reuseport"],
  ["cgroup_sock_addr", "cgroup_inet4_connect"],
  ["cgroup_sysctl", "cgroup_sysctl"],
  ["cgroup_sockopt", "cgroup_setsockopt"],
  ["lwt_in"],
  ["lwt_xmit"],
  ["lwt_seg6local"],
  ["kprobe"],
  ["perf_event"],
];

const KEYLESS: readonly MapTypeName[] = ["queue", "stack", "ringbuf"];

/** A map that a helper takes, or undefined where making one takes more than a definition. */
function mapOf(types: readonly MapTypeName[] | undefined): MapDef | undefined {
  const easy: readonly MapTypeName[] = ["hash", "percpu_hash", "cpumap", "queue", "ringbuf", "prog_array"];
  const others: readonly MapTypeName[] = [
    "perf_event_array",
    "sockmap",
    "sockhash",
    "cgroup_array",
    "reuseport_sockarray",
  ];
  const type = [...easy, ...others].find((candidate) => types?.includes(candidate));
  if (type === undefined) return undefined;
  if (type === "ringbuf") return mapDef({ name: "ringbuf", type, maxEntries: 4096 });
  const value = bytes(type.startsWith("reuseport") ? 8 : 4);
  if (KEYLESS.includes(type)) return mapDef({ name: type, type, value, maxEntries: 1 });
  return mapDef({ name: type.slice(0, 15), type, key: u32, value, maxEntries: 1 });
}

const readOnly = mapDef({
  name: "rodata",
  type: "array",
  key: u32,
  value: bytes(64),
  maxEntries: 1,
  flags: BPF_F_RDONLY_PROG,
});

const MAPS: readonly MapDef[] = [
  ...(["hash", "percpu_hash", "lru_hash", "lru_percpu_hash", "devmap_hash", "sockhash"] as const),
  ...(["array", "percpu_array", "devmap", "cpumap", "xskmap", "sockmap", "prog_array"] as const),
  ...(["perf_event_array", "cgroup_array"] as const),
]
  .map((type): MapDef => mapDef({ name: type.slice(0, 15), type, key: u32, value: u32, maxEntries: 1 }))
  .concat(
    mapDef({ name: "reuseport", type: "reuseport_sockarray", key: u32, value: bytes(8), maxEntries: 1 }),
    mapDef({
      name: "lpm",
      type: "lpm_trie",
      key: bytes(8),
      value: u32,
      maxEntries: 1,
      flags: BPF_F_NO_PREALLOC,
    }),
    mapDef({ name: "queue", type: "queue", value: u32, maxEntries: 1 }),
    mapDef({ name: "stack", type: "stack", value: u32, maxEntries: 1 }),
    mapDef({ name: "bloom", type: "bloom_filter", value: u32, maxEntries: 1 }),
    mapDef({ name: "ringbuf", type: "ringbuf", maxEntries: 4096 }),
    mapDef({ name: "user_ringbuf", type: "user_ringbuf", maxEntries: 4096 }),
    mapDef({ name: "stacks", type: "stack_trace", key: u32, value: bytes(80), maxEntries: 1 }),
  );

/**
 * Calls that need more than arguments of the right kind: a lock in a map, a constant format, a reference that must be
 * given back, a program that may sleep; or that lockdown or the kernel's configuration may refuse.
 */
const NEEDS_MORE: readonly string[] = [
  "bpf_probe_write_user",
  "bpf_override_return",
  "bpf_copy_from_user",
  "bpf_spin_lock",
  "bpf_spin_unlock",
  "bpf_timer_init",
  "bpf_timer_set_callback",
  "bpf_timer_start",
  "bpf_timer_cancel",
  "bpf_kptr_xchg",
  "bpf_strncmp",
  "bpf_snprintf",
  "bpf_ringbuf_reserve",
  "bpf_dynptr_from_mem",
  "bpf_ringbuf_reserve_dynptr",
  "bpf_ringbuf_submit_dynptr",
  "bpf_ringbuf_discard_dynptr",
  "bpf_dynptr_read",
  "bpf_dynptr_write",
  "bpf_dynptr_data",
  "bpf_sk_lookup_tcp",
  "bpf_sk_lookup_udp",
  "bpf_skc_lookup_tcp",
];

const ARGUMENTS: readonly WritableRegister[] = [r1, r2, r3, r4, r5];

interface Probe {
  readonly shape: HelperShape;
  readonly type: ProgTypeName & HelperProgType;
  readonly attachType: AttachTypeName | undefined;
}

const probes: readonly Probe[] = Object.values(helperShapes).flatMap((shape): Probe[] => {
  const { helper, params } = shape;
  if (NEEDS_MORE.includes(helper.name)) return [];
  if (params.some(({ kind }) => kind === "pointer" || kind === "callback")) return [];
  if (params.some((param) => param.kind === "map" && mapOf(param.types) === undefined)) return [];
  const found = TYPES.find(([type]) => {
    const more = helperProgTypes[type];
    return baseHelperIds.includes(helper.id) || more === "all" || more.includes(helper.id);
  });
  return found === undefined ? [] : [{ shape, type: found[0], attachType: found[1] }];
});

const maps = new Map<string, BpfMap>();
function created(def: MapDef): BpfMap {
  const map = maps.get(def.name) ?? BpfMap.create(def);
  maps.set(def.name, map);
  return map;
}

/** The instructions of a call; memory is read-only where `inReadOnly` says so, and in the stack elsewhere. */
function callOf(
  { shape: { helper, params } }: Probe,
  inReadOnly: (param: MemoryParam) => boolean,
  given?: MapDef,
): { insns: readonly Insn[]; maps: readonly BpfMap[] } {
  const used: BpfMap[] = [created(readOnly)];
  const map = given ?? params.flatMap((param) => (param.kind === "map" ? [mapOf(param.types)] : []))[0];
  if (map !== undefined) used.push(BpfMap.create(map));
  const insns = params.flatMap((param, index): Insn[] => {
    const register = ARGUMENTS[index] as WritableRegister;
    switch (param.kind) {
      case "ctx":
        return [mov(register, r6)];
      case "map":
        return [lddw(register, mapFd(map as MapDef))];
      case "memory":
        return inReadOnly(param)
          ? [lddw(register, mapValue(readOnly))]
          : [mov(register, r10), add(register, -64)];
      case "scalar": {
        const isSize = params.some(
          (other) => other.kind === "memory" && typeof other.size === "object" && other.size.param === index,
        );
        return [mov(register, isSize ? 16 : 0)];
      }
      default:
        return [mov(register, 0)];
    }
  });
  return { insns: [...insns, call(helper)], maps: used };
}

function loads(
  probe: Probe,
  before: readonly Insn[],
  inside: ReturnType<typeof callOf>,
  after: readonly Insn[],
): string | undefined {
  const { type, attachType } = probe;
  const stack = [-64, -56, -48, -40, -32, -24, -16, -8].map((at) => stdw([r10, at], 0));
  const blocks = {
    entry: [mov(r6, r1), ...stack, ...before, ...inside.insns, ...after] as Insn<never, never>[],
    out: [mov(r0, 0), exit()],
  };
  const built = program<"xdp", typeof blocks>(
    type as "xdp",
    "probe",
    blocks as never,
    attachType === undefined ? {} : { attachType },
  );
  try {
    using loaded = BpfProgram.load(built as never, { maps: inside.maps });
    void loaded;
    return undefined;
  } catch (error) {
    return String((error as Error).message);
  } finally {
    for (const map of inside.maps.slice(1)) map.close();
  }
}

describeKernel("the table of helpers, asked of the verifier", () => {
  afterAll(() => {
    for (const map of maps.values()) map.close();
  });

  test("covers most helpers that networking programs have", () => {
    expect(probes.length).toBeGreaterThan(100);
  });

  test.each(probes.map((probe) => [probe.shape.helper.name, probe] as const))("%s", (_, probe) => {
    expect(
      loads(
        probe,
        [],
        callOf(probe, () => false),
        [],
      ),
    ).toBeUndefined();
    for (const param of probe.shape.params) {
      if (param.kind !== "memory") continue;
      const refused = loads(
        probe,
        [],
        callOf(probe, (other) => other === param),
        [],
      );
      expect([param.name, refused === undefined]).toEqual([param.name, param.access === "read"]);
    }
  });

  // Of a tail call it depends on the kernel; this one keeps the pointers, and the table must be right for all.
  const withPacket = probes.filter(
    ({ type, shape }) =>
      shape.helper.name !== "bpf_tail_call" &&
      ["xdp", "sched_cls", "cgroup_skb", "sk_skb", "lwt_in", "lwt_xmit"].includes(type),
  );
  test.each(withPacket.map((probe) => [probe.shape.helper.name, probe] as const))(
    "%s and packet pointers",
    (_, probe) => {
      const [data, end] = probe.type === "xdp" ? [0, 4] : [76, 80];
      const before = [ldxw(r7, [r6, data]), ldxw(r2, [r6, end]), mov(r1, r7), add(r1, 1), jgt(r1, r2, "out")];
      const refused = loads(
        probe,
        before as never,
        callOf(probe, () => false),
        [ldxb(r1, [r7, 0])],
      );
      expect(refused !== undefined).toBe(probe.shape.movesPacket);
    },
  );

  // What the table leaves out on purpose, and what this program would have to do more for: a socket that is looked up must be
  // released, and some program types only may put sockets into maps.
  const apart: Readonly<Record<string, readonly MapTypeName[]>> = {
    bpf_map_lookup_elem: ["sockmap", "sockhash"],
    bpf_map_update_elem: ["sockmap", "sockhash"],
    bpf_map_delete_elem: ["array", "percpu_array"],
  };
  const withMap = probes.filter(({ shape }) => shape.params.some((param) => param.kind === "map"));
  test.each(withMap.map((probe) => [probe.shape.helper.name, probe] as const))(
    "%s and map types",
    (name, probe) => {
      const asked = MAPS.filter(({ type }) => apart[name]?.includes(type) !== true);
      const taken = probe.shape.params.flatMap((param) => (param.kind === "map" ? (param.types ?? []) : []));
      const accepted = asked.filter(
        (def) =>
          loads(
            probe,
            [],
            callOf(probe, () => false, def),
            [],
          ) === undefined,
      );
      expect(accepted.map(({ type }) => type)).toEqual(
        asked.map(({ type }) => type).filter((type) => taken.includes(type)),
      );
    },
  );
});
