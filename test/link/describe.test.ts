import { describe, expect, test } from "vitest";
import type { Attached } from "../../src/kernel/link/attachments.ts";
import { describePlace } from "../../src/kernel/link/describe.ts";

const facts = { id: 1, progId: 2 };
const elsewhere = { inode: 9, name: undefined, current: false };

describe("where something is attached, in words", () => {
  test.each<readonly [string, Omit<Attached, "where" | "program">]>([
    [
      "eth0 xdp",
      { info: { ...facts, kind: "xdp", ifindex: 2 }, device: "eth0", netns: { ...elsewhere, current: true } },
    ],
    ["eth0@net:[9] xdp", { info: { ...facts, kind: "xdp", ifindex: 2 }, device: "eth0", netns: elsewhere }],
    ["interface 2 tcx_egress", { info: { ...facts, kind: "tcx", ifindex: 2, attachType: "tcx_egress" } }],
    [
      "(detached) netkit_peer",
      { info: { ...facts, kind: "netkit", ifindex: undefined, attachType: "netkit_peer" } },
    ],
    [
      "cgroup 5 cgroup_sysctl",
      { info: { ...facts, kind: "cgroup", cgroupId: 5n, attachType: "cgroup_sysctl" } },
    ],
    [
      "(detached) cgroup_sysctl",
      { info: { ...facts, kind: "cgroup", cgroupId: undefined, attachType: "cgroup_sysctl" } },
    ],
    [
      "netns net:[9] sk_lookup",
      { info: { ...facts, kind: "netns", netnsInode: 9, attachType: "sk_lookup" } },
    ],
    [
      "(detached) sk_lookup",
      { info: { ...facts, kind: "netns", netnsInode: undefined, attachType: "sk_lookup" } },
    ],
    [
      "trace_fentry tcp_connect",
      {
        info: {
          ...facts,
          kind: "tracing",
          attachType: "trace_fentry",
          targetObjectId: 1,
          targetBtfId: 7,
          cookie: 0n,
        },
        functionName: "tcp_connect",
      },
    ],
    [
      "trace_fexit (BTF 30, type 7)",
      {
        info: {
          ...facts,
          kind: "tracing",
          attachType: "trace_fexit",
          targetObjectId: 30,
          targetBtfId: 7,
          cookie: 0n,
        },
      },
    ],
    ["iterator task", { info: { ...facts, kind: "iter", name: "task" } }],
    [
      "uprobe /bin/sh+0x40",
      {
        info: {
          ...facts,
          kind: "perf_event",
          event: { type: "uprobe", path: "/bin/sh", offset: 64, cookie: 0n },
        },
      },
    ],
    [
      "kretprobe do_exit",
      {
        info: {
          ...facts,
          kind: "perf_event",
          event: { type: "kretprobe", function: "do_exit", offset: 0, address: 0n, missed: 0n, cookie: 0n },
        },
      },
    ],
    [
      "perf event 1/2",
      {
        info: { ...facts, kind: "perf_event", event: { type: "event", perfType: 1, config: 2n, cookie: 0n } },
      },
    ],
    ["perf event (process 7)", { info: { ...facts, kind: "perf_event", event: undefined }, pid: 7 }],
    ["3 kretprobes", { info: { ...facts, kind: "kprobe_multi", count: 3, returns: true, missed: 0n } }],
    [
      "3 uprobes of /bin/sh",
      { info: { ...facts, kind: "uprobe_multi", path: "/bin/sh", count: 3, returns: false, pid: 0 } },
    ],
    [
      "netfilter family 7 hook 9 priority -1",
      { info: { ...facts, kind: "netfilter", family: 7, hook: 9, priority: -1, flags: 0 } },
    ],
    ["map 3 sk_msg_verdict", { info: { ...facts, kind: "sockmap", mapId: 3, attachType: "sk_msg_verdict" } }],
    ["struct_ops map 3", { info: { ...facts, kind: "struct_ops", mapId: 3 } }],
    ["link of type 99", { info: { ...facts, kind: "unknown", type: 99 } }],
  ])("%s", (text, place) => {
    expect(describePlace(place)).toBe(text);
  });
});
