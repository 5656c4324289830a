import { describe, expect, test } from "vitest";
import { LITTLE_ENDIAN } from "../../src/base/host.ts";
import { decodeLinkInfo, infoReader, type LinkInfo } from "../../src/kernel/link/info.ts";
import { encodeIteratorTarget } from "../../src/kernel/link/iterator.ts";
import type { Link } from "../../src/kernel/link/link.ts";
import { attachTypeName, attachTypeNumber, linkTypeName } from "../../src/kernel/link/names.ts";
import { encodePosition, type Position } from "../../src/kernel/link/position.ts";

/** A `struct bpf_link_info`: type, id 7, program 8, and 32-bit or 64-bit fields at their offsets. */
function info(type: number, fields: Readonly<Record<number, number | bigint>>, name = ""): LinkInfo {
  const reader = infoReader();
  [type, 7, 8].forEach((value, i) => {
    reader.view.setUint32(i * 4, value, LITTLE_ENDIAN);
  });
  for (const [offset, value] of Object.entries(fields)) {
    if (typeof value === "bigint") reader.view.setBigUint64(Number(offset), value, LITTLE_ENDIAN);
    else reader.view.setUint32(Number(offset), value, LITTLE_ENDIAN);
  }
  return decodeLinkInfo(reader, name);
}

// Offsets of include/uapi/linux/bpf.h, written out here; those of the code are generated.
describe("struct bpf_link_info", () => {
  const facts = { id: 7, progId: 8 };

  test.each<readonly [string, LinkInfo, object]>([
    ["xdp", info(6, { 16: 3 }), { kind: "xdp", ifindex: 3 }],
    ["xdp, detached", info(6, {}), { kind: "xdp", ifindex: undefined }],
    ["tcx", info(11, { 16: 3, 20: 46 }), { kind: "tcx", ifindex: 3, attachType: "tcx_ingress" }],
    ["netkit", info(13, { 16: 3, 20: 55 }), { kind: "netkit", ifindex: 3, attachType: "netkit_peer" }],
    [
      "cgroup",
      info(3, { 16: 1n << 40n, 24: 10 }),
      { kind: "cgroup", cgroupId: 1n << 40n, attachType: "cgroup_inet4_connect" },
    ],
    ["netns", info(5, { 16: 99, 20: 36 }), { kind: "netns", netnsInode: 99, attachType: "sk_lookup" }],
    [
      "raw tracepoint",
      info(1, { 32: 5n }, "sched_switch"),
      { kind: "raw_tracepoint", name: "sched_switch", cookie: 5n },
    ],
    [
      "tracing",
      info(2, { 16: 24, 20: 1, 24: 1234, 32: 6n }),
      { kind: "tracing", attachType: "trace_fentry", targetObjectId: 1, targetBtfId: 1234, cookie: 6n },
    ],
    [
      "iterator of tasks",
      info(4, { 32: 11, 36: 12 }, "task_file"),
      { kind: "iter", name: "task_file", tid: 11, pid: 12 },
    ],
    [
      "iterator of a map",
      info(4, { 28: 13 }, "bpf_map_elem"),
      { kind: "iter", name: "bpf_map_elem", mapId: 13 },
    ],
    ["iterator of cgroups", info(4, { 32: 14n }, "cgroup"), { kind: "iter", name: "cgroup", cgroupId: 14n }],
    ["iterator of programs", info(4, {}, "bpf_prog"), { kind: "iter", name: "bpf_prog" }],
    [
      "kprobe",
      info(7, { 16: 3, 36: 4, 40: 0xffff_ffff_8100_0000n, 48: 2n, 56: 9n }, "do_exit"),
      {
        kind: "perf_event",
        event: {
          type: "kprobe",
          function: "do_exit",
          offset: 4,
          address: 0xffff_ffff_8100_0000n,
          missed: 2n,
          cookie: 9n,
        },
      },
    ],
    [
      "kretprobe",
      info(7, { 16: 4 }, "do_exit"),
      { kind: "perf_event", event: expect.objectContaining({ type: "kretprobe" }) },
    ],
    [
      "uretprobe",
      info(7, { 16: 2, 36: 64, 40: 3n }, "/bin/sh"),
      { kind: "perf_event", event: { type: "uretprobe", path: "/bin/sh", offset: 64, cookie: 3n } },
    ],
    [
      "counter",
      info(7, { 16: 6, 24: 2n, 32: 1, 40: 4n }),
      { kind: "perf_event", event: { type: "event", perfType: 1, config: 2n, cookie: 4n } },
    ],
    ["perf event before 6.6", info(7, {}), { kind: "perf_event", event: undefined }],
    [
      "kprobe_multi",
      info(8, { 24: 5, 28: 1, 32: 6n }),
      { kind: "kprobe_multi", count: 5, returns: true, missed: 6n },
    ],
    [
      "uprobe_multi",
      info(12, { 52: 2, 56: 0, 60: 42 }, "/bin/sh"),
      { kind: "uprobe_multi", path: "/bin/sh", count: 2, returns: false, pid: 42 },
    ],
    [
      "netfilter",
      info(10, { 16: 2, 20: 1, 24: 0xffff_fff6, 28: 1 }),
      { kind: "netfilter", family: 2, hook: 1, priority: -10, flags: 1 },
    ],
    ["sockmap", info(14, { 16: 5, 20: 7 }), { kind: "sockmap", mapId: 5, attachType: "sk_msg_verdict" }],
    ["struct_ops", info(9, { 8: 0, 16: 5 }), { kind: "struct_ops", mapId: 5, progId: undefined }],
    ["a type of the future", info(99, {}), { kind: "unknown", type: 99 }],
  ])("%s", (_, decoded, expected) => {
    expect(decoded).toEqual({ ...facts, ...expected });
  });
});

describe("names", () => {
  test("of attach types and link types", () => {
    expect(attachTypeNumber("tcx_ingress")).toBe(46);
    expect(attachTypeName(46)).toBe("tcx_ingress");
    expect(attachTypeName(9999)).toBe("9999");
    expect(linkTypeName(6)).toBe("xdp");
    expect(linkTypeName(0)).toBeUndefined();
    expect(linkTypeName(9999)).toBeUndefined();
  });
});

describe("positions", () => {
  const link = { kind: "tcx", id: 5 } as Link;
  const [BEFORE, AFTER, ID, LINK] = [8, 16, 32, 8192];

  test.each<readonly [string, Position, object]>([
    ["none", {}, { flags: 0, fields: { expected_revision: undefined } }],
    ["before all", { before: "all" }, { flags: BEFORE, fields: {} }],
    ["after all", { after: "all" }, { flags: AFTER, fields: {} }],
    ["alone", { before: "all", after: "all" }, { flags: BEFORE | AFTER, fields: {} }],
    ["before a link", { before: link }, { flags: BEFORE | ID | LINK, fields: { relative_id: 5 } }],
    ["after a link's id", { after: { linkId: 6 } }, { flags: AFTER | ID | LINK, fields: { relative_id: 6 } }],
    ["after a link's fd", { after: { linkFd: 7 } }, { flags: AFTER | LINK, fields: { relative_fd: 7 } }],
    ["before a program's id", { before: { progId: 8 } }, { flags: BEFORE | ID, fields: { relative_id: 8 } }],
    ["before a program's fd", { before: { progFd: 9 } }, { flags: BEFORE, fields: { relative_fd: 9 } }],
    ["at a revision", { revision: 3n }, { flags: 0, fields: { expected_revision: 3n } }],
  ])("%s", (_, position, expected) => {
    expect(encodePosition(position)).toEqual(expected);
  });

  test("an attachment without a link is no neighbour", () => {
    expect(() => encodePosition({ before: { kind: "cgroup", id: undefined } as Link })).toThrow(
      "a cgroup attachment without a bpf_link is no neighbour\n  Name its program instead.",
    );
  });
});

describe("iterator targets", () => {
  const words = (...values: readonly number[]): Uint8Array => {
    const view = new DataView(new ArrayBuffer(16));
    values.forEach((value, i) => {
      view.setUint32(i * 4, value, LITTLE_ENDIAN);
    });
    return new Uint8Array(view.buffer);
  };

  test("union bpf_iter_link_info", () => {
    expect(encodeIteratorTarget({}, undefined)).toBeUndefined();
    expect(encodeIteratorTarget({ map: { fd: 5 } }, undefined)).toEqual(words(5));
    expect(encodeIteratorTarget({ tid: 6 }, undefined)).toEqual(words(6));
    expect(encodeIteratorTarget({ pid: 7 }, undefined)).toEqual(words(0, 7));
    expect(encodeIteratorTarget({ cgroup: { path: "/x", order: "descendants_pre" } }, 8)).toEqual(
      words(2, 8),
    );
  });
});
