import { describe, expect, test } from "vitest";
import { verdictLine } from "../../src/kernel/features/attempt.ts";
import { HELPERS } from "../../src/kernel/features/helpers.ts";
import {
  ABILITIES,
  ATTACH_TYPES,
  BTF_FEATURES,
  createProber,
  helperSince,
  ISA_FEATURES,
  LINK_TYPES,
  MAP_TYPES,
  PROG_TYPES,
  requireFeature,
} from "../../src/kernel/features/index.ts";
import { UnsupportedError } from "../../src/kernel/unsupported.ts";
import type { Syscalls } from "../../src/syscall/syscalls.ts";
import { bpf_map_type, bpf_prog_type } from "../../src/uapi/bpf.ts";
import { bpf_attr_prog_load } from "../../src/uapi/bpf-attr.ts";
import { E2BIG, EAGAIN, EINVAL, EMFILE, ENOMEM, ENOSYS } from "../../src/uapi/errno.ts";

/** A kernel that answers every bpf(2) with one number. */
function saying(answer: () => number): Syscalls & { readonly closed: number[] } {
  const closed: number[] = [];
  const sys = {
    closed,
    bpf: answer,
    addressOf: () => 4096n,
    close: (fd: number) => closed.push(fd),
  };
  return sys as unknown as Syscalls & { readonly closed: number[] };
}

describe("what the kernel says becomes", () => {
  test.each([
    ["a descriptor", 7, { answer: "yes", since: "5.8" }],
    [
      "EINVAL",
      -EINVAL,
      { answer: "no", since: "5.8", reason: "bpf(BPF_MAP_CREATE) says EINVAL (Invalid argument)" },
    ],
    [
      "E2BIG",
      -E2BIG,
      { answer: "no", since: "5.8", reason: "bpf(BPF_MAP_CREATE) says E2BIG (Argument list too long)" },
    ],
    [
      "ENOMEM",
      -ENOMEM,
      { answer: "unknown", since: "5.8", reason: "bpf(BPF_MAP_CREATE) says ENOMEM (Cannot allocate memory)" },
    ],
    [
      "EMFILE",
      -EMFILE,
      { answer: "unknown", since: "5.8", reason: "bpf(BPF_MAP_CREATE) says EMFILE (Too many open files)" },
    ],
    [
      "ENOSYS",
      -ENOSYS,
      {
        answer: "unknown",
        since: "5.8",
        reason: "bpf(BPF_MAP_CREATE) says ENOSYS (Function not implemented)",
      },
    ],
  ])("%s", (_name, result, answer) => {
    const sys = saying(() => result);
    expect(createProber(sys).haveMapType("ringbuf")).toEqual(answer);
    expect(sys.closed).toEqual(result >= 0 ? [result] : []);
  });

  test("unknown is asked anew, the others are remembered", () => {
    const results = [-ENOMEM, -EINVAL, 7];
    const sys = saying(() => results.shift() ?? -EAGAIN);
    const prober = createProber(sys);
    expect(prober.haveMapType("hash").answer).toBe("unknown");
    expect(prober.haveMapType("hash").answer).toBe("no");
    expect(prober.haveMapType("hash").answer).toBe("no");
    expect(createProber(sys).haveMapType("hash").answer).toBe("yes");
  });

  test("a type that the verifier has a word about is one that the kernel has", () => {
    const logs: [string, string][] = [
      ["", "no"],
      ["Tracing programs must provide btf_id\nprocessed 0 insns (limit 1000000)\n", "yes"],
    ];
    for (const [log, answer] of logs) {
      const written: Uint8Array[] = [];
      const sys = {
        ...saying(() => 0),
        addressOf(buffer: Uint8Array) {
          written.push(buffer);
          return 4096n;
        },
        bpf(_cmd: number, attr: Uint8Array) {
          const size = new DataView(attr.buffer).getUint32(bpf_attr_prog_load.log_size, true);
          const buffer = written.find(({ byteLength }) => byteLength === size);
          if (size > 0) buffer?.set(new TextEncoder().encode(`${log}\0`));
          return -EINVAL;
        },
      } as Syscalls;
      expect(createProber(sys).haveProgType("tracing").answer).toBe(answer);
    }
  });

  test("a name that no helper has is the caller's mistake", () => {
    const prober = createProber(saying(() => -EINVAL));
    expect(() => prober.haveHelper("xdp", "bpf_redirect_mp" as "bpf_redirect_map")).toThrow(
      /^there is no helper 'bpf_redirect_mp'\n.*bpf_redirect_map/,
    );
  });
});

describe("the tables", () => {
  const asNumber = (version: string): number => {
    const [major = 0, minor = 0] = version.split(".").map(Number);
    return major * 1000 + minor;
  };
  const tables = { ABILITIES, ATTACH_TYPES, BTF_FEATURES, ISA_FEATURES, MAP_TYPES, PROG_TYPES };

  test.each(Object.entries(tables))("%s are in the order in which they came", (_name, table) => {
    const versions = Object.values(table as Record<string, { since: string }>).map(({ since }) =>
      asNumber(since),
    );
    expect(versions).toEqual(versions.toSorted((a, b) => a - b));
  });

  test("map and program types in that of the kernel's numbers", () => {
    const mapNumbers = Object.keys(MAP_TYPES).map(
      (name) => (bpf_map_type as Record<string, number>)[`BPF_MAP_TYPE_${name.toUpperCase()}`],
    );
    expect(mapNumbers).toEqual(Array.from({ length: 35 }, (_, index) => index + 1));
    const progNumbers = Object.keys(PROG_TYPES).map(
      (name) => (bpf_prog_type as Record<string, number>)[`BPF_PROG_TYPE_${name.toUpperCase()}`],
    );
    expect(progNumbers).toEqual(Array.from({ length: 32 }, (_, index) => index + 1));
    expect(Object.keys(LINK_TYPES)).toHaveLength(15);
  });

  // From the kernel's history: the release that each commit first was in.
  test.each([
    ["bpf_map_delete_elem", "3.19"],
    ["bpf_l4_csum_replace", "4.1"],
    ["bpf_tail_call", "4.2"],
    ["bpf_perf_event_read", "4.3"],
    ["bpf_redirect", "4.4"],
    ["bpf_probe_write_user", "4.8"],
    ["bpf_redirect_map", "4.14"],
    ["bpf_xdp_adjust_tail", "4.18"],
    ["bpf_get_listener_sock", "5.1"],
    ["bpf_skc_lookup_tcp", "5.2"],
    ["bpf_send_signal", "5.3"],
    ["bpf_tcp_gen_syncookie", "5.4"],
    ["bpf_read_branch_records", "5.7"],
    ["bpf_ktime_get_boot_ns", "5.8"],
    ["bpf_ringbuf_output", "5.8"],
    ["bpf_redirect_peer", "5.10"],
    ["bpf_check_mtu", "5.12"],
    ["bpf_loop", "5.17"],
    ["bpf_dynptr_data", "5.19"],
    ["bpf_tcp_raw_gen_syncookie_ipv4", "6.0"],
    ["bpf_ktime_get_tai_ns", "6.1"],
    ["bpf_cgrp_storage_delete", "6.2"],
  ])("%s came with %s", (name, since) => {
    expect(helperSince(HELPERS.get(name)?.id ?? 0)).toBe(since);
  });

  test("every helper has a kernel", () => {
    expect(HELPERS.size).toBe(211);
    for (const { id } of HELPERS.values()) expect(helperSince(id)).toMatch(/^[3-6]\.\d+$/);
  });
});

test("the line of a log that matters", () => {
  const log = [
    "0: R1=ctx() R10=fp0",
    "; return 1; @ a.ts:3",
    "0: (0e) r0 += r1",
    "unknown opcode 0e",
    "processed 1 insns (limit 1000000) max_states_per_insn 0",
    "",
  ].join("\n");
  expect(verdictLine(log)).toBe("unknown opcode 0e");
  expect(verdictLine("processed 0 insns (limit 1000000)\n")).toBeUndefined();
  expect(verdictLine("")).toBeUndefined();
});

test("what is required", () => {
  requireFeature("netkit", { answer: "yes", since: "6.7" });
  requireFeature("netkit", { answer: "unknown", since: "6.7", reason: "EPERM" });
  const refused = (): void => requireFeature("netkit", { answer: "no", since: "6.7", reason: "EINVAL" });
  expect(refused).toThrow(UnsupportedError);
  expect(refused).toThrow(/^this kernel has no netkit: EINVAL\n.*It came with kernel 6\.7; this one is /);
});
