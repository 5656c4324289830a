import { stripVTControlCharacters } from "node:util";
import { describe, expect, test } from "vitest";
import { checkChecksumTrap, parseChecksumErrors } from "../../src/cli/doctor/device/checksum-trap.ts";
import { checkDriver } from "../../src/cli/doctor/device/driver.ts";
import { checkMtu } from "../../src/cli/doctor/device/mtu.ts";
import { checkOffloads } from "../../src/cli/doctor/device/offloads.ts";
import { checkQueues } from "../../src/cli/doctor/device/queues.ts";
import { checkState } from "../../src/cli/doctor/device/state.ts";
import { checkSteering } from "../../src/cli/doctor/device/steering.ts";
import { checkTc } from "../../src/cli/doctor/device/tc-programs.ts";
import { checkXdpSlot } from "../../src/cli/doctor/device/xdp-slot.ts";
import { type Finding, guard, read } from "../../src/cli/doctor/finding.ts";
import { checkBpftool } from "../../src/cli/doctor/machine/bpftool.ts";
import { checkCapabilities } from "../../src/cli/doctor/machine/capabilities.ts";
import { checkCpus } from "../../src/cli/doctor/machine/cpus.ts";
import { checkEthtool, isInstalled } from "../../src/cli/doctor/machine/ethtool.ts";
import { checkJit } from "../../src/cli/doctor/machine/jit.ts";
import {
  checkKernel,
  type FeatureFact,
  type KernelFacts,
  readKernel,
} from "../../src/cli/doctor/machine/kernel.ts";
import { checkKernelBtf } from "../../src/cli/doctor/machine/kernel-btf.ts";
import { checkLockdown } from "../../src/cli/doctor/machine/lockdown.ts";
import { checkMount } from "../../src/cli/doctor/machine/mounts.ts";
import { checkNode } from "../../src/cli/doctor/machine/node.ts";
import { checkUnprivilegedBpf } from "../../src/cli/doctor/machine/unprivileged-bpf.ts";
import { formatReport, isHealthy, type Report } from "../../src/cli/doctor/report.ts";
import { heldCapabilities } from "../../src/kernel/privileges.ts";
import { SyscallError } from "../../src/syscall/errno.ts";
import { NetlinkError } from "../../src/syscall/netlink.ts";
import { NetnsRestoreError } from "../../src/syscall/netns.ts";
import type { Syscalls } from "../../src/syscall/syscalls.ts";
import { BPF_MAP_CREATE, BPF_PROG_BIND_MAP, BPF_PROG_QUERY } from "../../src/uapi/bpf.ts";
import { EBADF, EINVAL, EPERM } from "../../src/uapi/errno.ts";
import { fakeSyscalls } from "../syscall/fake-syscalls.ts";

const enter = "";
const denied = { unknown: "it takes root: bpf(BPF_PROG_QUERY) says EPERM" };

/** One check's findings as lines: `level what`, and `-> fix` below. */
function lines(findings: readonly Finding[]): readonly string[] {
  return findings.flatMap(({ level, what, fix }) => [
    `${level} ${what}`,
    ...(fix === undefined ? [] : [`-> ${fix}`]),
  ]);
}

describe("the kernel", () => {
  const yes: FeatureFact = { has: true, source: "tried" };
  const no: FeatureFact = { has: false, source: "tried" };
  const all = { cpuMap: yes, xdpReplace: yes, cpuMapProgram: yes, metadata: yes, tcx: yes };
  const facts = (features: Partial<KernelFacts["features"]>, refused?: string): KernelFacts => ({
    release: "6.6.1",
    features: { ...all, ...features },
    refused,
  });

  test("with everything", () => {
    expect(lines(checkKernel(facts({})))).toEqual([
      "ok Linux 6.6.1; has CPU map, atomic XDP replace, program on the target core, program metadata, TCX",
    ]);
  });

  test("what was tried is told from what the release suggests", () => {
    const findings = checkKernel(facts({ xdpReplace: { has: true, source: "release" } }));
    expect(lines(findings)).toEqual([
      "ok Linux 6.6.1; has CPU map, program on the target core, program metadata, TCX; by its release has atomic XDP replace",
    ]);
  });

  test.each([
    ["cpuMap", "fail", "CPU map, which came with Linux 4.15", "Use a kernel from 4.15 on."],
    ["xdpReplace", "fail", "atomic XDP replace, which came with Linux 5.7", "Use a kernel from 5.7 on."],
    [
      "cpuMapProgram",
      "fail",
      "program on the target core, which came with Linux 5.9",
      "Use a kernel from 5.9 on.",
    ],
    ["metadata", "fail", "program metadata, which came with Linux 5.10", "Use a kernel from 5.10 on."],
    ["tcx", "info", "TCX, which came with Linux 6.6", "`up` attaches TC with clsact instead."],
  ] as const)("without %s", (feature, level, what, fix) => {
    const [, finding] = checkKernel(facts({ [feature]: no }));
    expect(finding).toMatchObject({ level, check: `kernel.${feature}`, what: `this kernel lacks ${what}` });
    expect(finding?.fix).toContain(fix);
  });

  test("that refuses BPF in spite of the capabilities", () => {
    const [, finding] = checkKernel(facts({}, "bpf(BPF_MAP_CREATE) failed: EPERM"));
    expect(finding).toMatchObject({
      level: "fail",
      what: "the kernel refuses BPF although this process holds the capabilities: bpf(BPF_MAP_CREATE) failed: EPERM",
    });
    expect(finding?.fix).toContain("run on the host");
  });
});

describe("trying the kernel", () => {
  /** A kernel that answers each bpf(2) command with the same number, -EINVAL where none is given. */
  function kernel(answers: Readonly<Partial<Record<number, number>>>): { sys: Syscalls; closed: number[] } {
    const closed: number[] = [];
    const close = (fd: number): number => {
      closed.push(fd);
      return 0;
    };
    return {
      closed,
      sys: fakeSyscalls({ addressOf: () => 0n, bpf: (cmd) => answers[cmd] ?? -EINVAL, close }),
    };
  }
  const tried = (has: boolean): FeatureFact => ({ has, source: "tried" });

  test("one that knows none of it", () => {
    const { cpuMap, cpuMapProgram, metadata, tcx } = readKernel(kernel({}).sys).features;
    expect([cpuMap, cpuMapProgram, metadata, tcx]).toEqual(Array(4).fill(tried(false)));
  });

  test("one that knows all of it; the maps are closed again", () => {
    const answers = { [BPF_MAP_CREATE]: 77, [BPF_PROG_BIND_MAP]: -EBADF, [BPF_PROG_QUERY]: 0 };
    const { sys, closed } = kernel(answers);
    const { cpuMap, cpuMapProgram, metadata, tcx } = readKernel(sys).features;
    expect([cpuMap, cpuMapProgram, metadata, tcx]).toEqual(Array(4).fill(tried(true)));
    expect(closed).toEqual([77, 77]);
  });

  test("one that may not be asked: its release tells", () => {
    const answers = { [BPF_MAP_CREATE]: -EPERM, [BPF_PROG_BIND_MAP]: -EPERM, [BPF_PROG_QUERY]: -EPERM };
    const { features, refused } = readKernel(kernel(answers).sys);
    expect(Object.values(features).map(({ source }) => source)).toEqual(Array(5).fill("release"));
    const held = heldCapabilities();
    if (held.has("CAP_BPF") || held.has("CAP_SYS_ADMIN")) {
      expect(refused).toMatch(/^bpf\(BPF_MAP_CREATE\) failed: EPERM/);
    } else {
      expect(refused).toBeUndefined(); // no wonder
    }
  });
});

describe("the capabilities", () => {
  test("all of them", () => {
    const held = new Set(["CAP_SYS_ADMIN", "CAP_NET_ADMIN", "CAP_BPF", "CAP_PERFMON"] as const);
    expect(lines(checkCapabilities({ held, userNamespace: false }))).toEqual([
      "ok the process holds CAP_SYS_ADMIN, CAP_NET_ADMIN, CAP_BPF, CAP_PERFMON",
    ]);
  });

  test("CAP_SYS_ADMIN includes what was split off it", () => {
    const held = new Set(["CAP_SYS_ADMIN", "CAP_NET_ADMIN"] as const);
    expect(checkCapabilities({ held, userNamespace: false })[0]?.level).toBe("ok");
  });

  test("none", () => {
    expect(lines(checkCapabilities({ held: new Set(), userNamespace: false }))).toEqual([
      "fail the process lacks CAP_SYS_ADMIN, CAP_NET_ADMIN, CAP_BPF, CAP_PERFMON",
      "-> Run `up` as root (sudo).",
    ]);
  });

  test("those that loading takes, without the one that finding again takes", () => {
    const held = new Set(["CAP_BPF", "CAP_NET_ADMIN", "CAP_PERFMON"] as const);
    expect(checkCapabilities({ held, userNamespace: false })[0]).toMatchObject({
      level: "fail",
      what: "the process lacks CAP_SYS_ADMIN",
    });
  });

  test("root of a user namespace", () => {
    const held = new Set(["CAP_SYS_ADMIN", "CAP_NET_ADMIN"] as const);
    expect(lines(checkCapabilities({ held, userNamespace: true })).slice(1)).toEqual([
      "warn the process is in a user namespace, where root's capabilities do not count for BPF",
      "-> Run it outside: on the host, or in a container with the host's user namespace.",
    ]);
  });
});

describe("the rest of the machine", () => {
  const cases: readonly (readonly [string, readonly Finding[], readonly string[]])[] = [
    [
      "JIT on",
      checkJit({ compiled: { value: true }, setting: 1 }),
      ["ok programs are compiled to machine code (net.core.bpf_jit_enable is 1)"],
    ],
    [
      "JIT on, where the setting is out of sight",
      checkJit({ compiled: { value: true }, setting: undefined }),
      ["ok programs are compiled to machine code"],
    ],
    [
      "JIT off",
      checkJit({ compiled: { value: false }, setting: 0 }),
      [
        "warn programs are interpreted, several times slower than compiled (net.core.bpf_jit_enable is 0)",
        "-> Turn the JIT compiler on: sysctl net.core.bpf_jit_enable=1",
      ],
    ],
    [
      "JIT, by the setting alone",
      checkJit({ compiled: denied, setting: 2 }),
      ["ok programs are compiled to machine code (net.core.bpf_jit_enable is 2)"],
    ],
    [
      "JIT, not known",
      checkJit({ compiled: denied, setting: undefined }),
      ["info the JIT compiler: could not be looked at (it takes root: bpf(BPF_PROG_QUERY) says EPERM)"],
    ],
    [
      "all CPUs online",
      checkCpus({ online: [0, 1, 2, 3], possible: [0, 1, 2, 3] }),
      ["ok 4 CPUs online (0-3), none offline"],
    ],
    [
      "some CPUs offline",
      checkCpus({ online: [0, 2], possible: [0, 1, 2, 3] }),
      [
        "info 2 CPUs online (0,2), and 2 possible that are not (1,3)",
        "-> `up` makes entries for those that are online; after bringing up another one run `up` again.",
      ],
    ],
    [
      "one CPU",
      checkCpus({ online: [0], possible: [0] }),
      ["info 1 CPU online (0): every packet runs on it in any case", "-> With more there is more to see."],
    ],
    [
      "bpffs",
      checkMount({ type: "bpf", path: "/sys/fs/bpf", elsewhere: [] }),
      ["ok bpffs is mounted at /sys/fs/bpf"],
    ],
    [
      "bpffs in two places",
      checkMount({ type: "bpf", path: "/sys/fs/bpf", elsewhere: ["/run/cilium/bpffs"] }),
      ["ok bpffs is mounted at /sys/fs/bpf; also at /run/cilium/bpffs"],
    ],
    [
      "hidden tracefs",
      checkMount({ type: "tracefs", path: "/proc/42/root/sys/kernel/tracing", elsewhere: [] }),
      [
        "info tracefs is hidden from this process, as `ip netns exec` does, and reached at /proc/42/root/sys/kernel/tracing",
        "-> Nothing to do. `nsenter --net=...` and `--netns NAME` keep the mounts in sight.",
      ],
    ],
    [
      "no bpffs",
      checkMount({ type: "bpf", path: undefined, elsewhere: [] }),
      [
        "info bpffs (for pins) is not mounted at /sys/fs/bpf",
        "-> tsbpf mounts it when it needs it; to do it yourself: mount -t bpf bpffs /sys/fs/bpf",
      ],
    ],
    [
      "no tracefs",
      checkMount({ type: "tracefs", path: undefined, elsewhere: [] }),
      [
        "info tracefs (for the log) is not mounted at /sys/kernel/tracing",
        "-> tsbpf mounts it when it needs it; to do it yourself: mount -t tracefs tracefs /sys/kernel/tracing",
      ],
    ],
    ["kernel BTF", checkKernelBtf(true), ["ok the kernel tells its types (BTF) in /sys/kernel/btf/vmlinux"]],
    [
      "no kernel BTF",
      checkKernelBtf(false),
      [
        "info the kernel does not tell its types: no /sys/kernel/btf/vmlinux",
        "-> The sample does without; programs that call kernel functions need a kernel with CONFIG_DEBUG_INFO_BTF.",
      ],
    ],
    [
      "new bpftool",
      checkBpftool({ version: "7.5.0", tcx: true }, true),
      ["ok bpftool 7.5.0 can attach to TCX"],
    ],
    [
      "old bpftool",
      checkBpftool({ version: "7.1.0", tcx: false }, true),
      [
        "info bpftool 7.1.0 cannot attach to TCX (version 7.5 and newer can)",
        "-> `up` makes the system call itself (--tc tcx); for --tc bpftool run scripts/setup.sh, which installs one.",
      ],
    ],
    [
      "no bpftool, old kernel",
      checkBpftool({ version: undefined, tcx: false }, false),
      [
        "info there is no bpftool",
        "-> `up` does without it here: this kernel has no TCX, so it attaches with clsact.",
      ],
    ],
    [
      "unprivileged BPF",
      checkUnprivilegedBpf({ value: 0 }),
      [
        "info kernel.unprivileged_bpf_disabled is 0: any user may load simple programs (none that the sample uses)",
      ],
    ],
    [
      "no unprivileged BPF",
      checkUnprivilegedBpf({ value: 2 }),
      [
        "info kernel.unprivileged_bpf_disabled is 2: only privileged processes may use bpf(); root can change that",
      ],
    ],
    ["no lockdown", checkLockdown({ value: "none" }), ["ok the kernel is not locked down"]],
    [
      "lockdown for integrity",
      checkLockdown({ value: "integrity" }),
      ["ok the kernel is locked down (integrity), which does not concern BPF"],
    ],
    [
      "lockdown for confidentiality",
      checkLockdown({ value: "confidentiality" }),
      [
        "warn the kernel is locked down (confidentiality): nobody can read the trace, so `logs` and trace_pipe show nothing",
        "-> Boot with lockdown=integrity to see the log, or do without: up --no-trace",
      ],
    ],
    [
      "lockdown out of sight",
      checkLockdown({ unknown: "securityfs is not in sight" }),
      ["info kernel lockdown: could not be looked at (securityfs is not in sight)"],
    ],
    ["Node.js 20.19", checkNode("20.19.0", "linux-x64"), ["ok Node.js 20.19.0 on linux-x64"]],
    ["Node.js 24", checkNode("24.0.1", "linux-arm64"), ["ok Node.js 24.0.1 on linux-arm64"]],
    [
      "Node.js 20.18",
      checkNode("20.18.3", "linux-x64"),
      ["fail Node.js 20.18.3 is too old", "-> tsbpf needs 20.19 or newer."],
    ],
  ];
  test.each(cases)("%s", (_name, findings, expected) => {
    expect(lines(findings)).toEqual(expected);
  });
});

describe("the state of an interface", () => {
  const state = (flags: number, enter = "") => lines(checkState({ enter, link: { name: "eth0", flags } }));

  test("up", () => expect(state(0x11043)).toEqual(["ok eth0 is up and has a carrier"]));

  test("down", () => {
    expect(state(0x1002)).toEqual([
      "warn eth0 is down: no packet arrives",
      "-> Set it up: ip link set eth0 up",
    ]);
  });

  test("a command says which namespace it is for", () => {
    expect(state(0x1002, "ip netns exec blue")[1]).toBe(
      "-> Set it up: ip netns exec blue ip link set eth0 up",
    );
  });

  test("no carrier", () => {
    expect(state(0x1003)).toEqual([
      "warn eth0 is up, but has no carrier: no packet arrives",
      "-> Its other end (cable, switch port, veth peer) is missing or down.",
    ]);
  });
});

describe("the driver", () => {
  const driver = (features: number | undefined, name: string | undefined = "veth") =>
    lines(checkDriver({ name: "eth0", driver: { value: name }, features: { value: features } }));

  test("with all it takes", () => {
    expect(driver(0x23)).toEqual(["ok driver veth has native XDP with redirect (BASIC, REDIRECT, RX_SG)"]);
  });

  test("with everything there is", () => {
    expect(driver(0x7f, "mlx5_core")[0]).toContain(
      "(BASIC, REDIRECT, NDO_XMIT, XSK_ZEROCOPY, HW_OFFLOAD, RX_SG, NDO_XMIT_SG)",
    );
  });

  test("without native XDP", () => {
    expect(driver(0, "bridge")).toEqual([
      "warn driver bridge has no native XDP",
      "-> `up` takes generic mode: the same programs, slower, behind the driver.",
    ]);
  });

  test("without redirect", () => {
    expect(driver(1, "nfp")).toEqual([
      "warn driver nfp has native XDP, but no redirect, which the CPU map needs (BASIC)",
      "-> Use generic mode: up --xdp-mode generic",
    ]);
  });

  test("on a kernel that does not tell", () => {
    expect(driver(undefined)).toEqual([
      "info driver veth: this kernel does not tell its XDP features (Linux 6.3 and newer do)",
      "-> `up` tries native mode first, and takes generic mode where the driver has none.",
    ]);
  });

  test("that does not say its name, and cannot be asked", () => {
    const findings = checkDriver({ name: "eth0", driver: { value: undefined }, features: denied });
    expect(lines(findings)).toEqual([
      "info what the driver of eth0 can do with XDP: could not be looked at (it takes root: bpf(BPF_PROG_QUERY) says EPERM)",
    ]);
  });
});

describe("the MTU", () => {
  const base = {
    name: "eth0",
    enter,
    peerMtu: undefined,
    isVeth: false,
    features: { value: 0x3 },
  };

  test("the usual one", () => {
    expect(lines(checkMtu({ ...base, mtu: 1500 }))).toEqual(["ok MTU 1500: every packet fits one buffer"]);
  });

  test("a large one, with a driver that takes fragments", () => {
    expect(lines(checkMtu({ ...base, mtu: 9000, features: { value: 0x23 } }))).toEqual([
      "ok MTU 9000: packets may need several buffers, so `up` declares fragments, and the driver takes them (RX_SG)",
    ]);
  });

  test("a large one, with a driver that takes none", () => {
    expect(lines(checkMtu({ ...base, mtu: 9000 }))).toEqual([
      "warn MTU 9000: packets may need several buffers, so `up` declares fragments; " +
        "its driver takes none (no RX_SG) and may refuse native XDP",
      "-> Should `up` fail: ip link set eth0 mtu 1500, or up --xdp-mode generic",
    ]);
  });

  test("a large one, with a driver that nobody knows", () => {
    const [first] = checkMtu({ ...base, mtu: 9000, features: { value: undefined } });
    expect(first?.level).toBe("info");
    expect(first?.what).toContain("whether its driver takes them is not known");
  });

  test("a large one, with a driver that has no native XDP", () => {
    expect(lines(checkMtu({ ...base, mtu: 65536, features: { value: 0 } }))).toEqual([
      "ok MTU 65536: generic XDP, all there is here, takes packets of any size",
    ]);
  });

  test("a large one on veth", () => {
    expect(lines(checkMtu({ ...base, mtu: 9000, isVeth: true, peerMtu: 9000 }))).toEqual([
      "ok MTU 9000: `up` declares fragments, which veth takes",
    ]);
  });

  test("a veth whose peer alone has a large one", () => {
    expect(lines(checkMtu({ ...base, mtu: 1500, isVeth: true, peerMtu: 9000 }))).toEqual([
      "ok MTU 9000: `up` declares fragments, which veth takes",
    ]);
  });
});

describe("the queues", () => {
  const base = { name: "eth0", enter, native: true, peerTx: undefined, isVeth: false, cpus: 4 };

  test("as many as cores", () => {
    expect(lines(checkQueues({ ...base, rx: 4 }))).toEqual([
      "ok 4 receive queues for 4 cores: packets can arrive on each",
    ]);
  });

  test("fewer", () => {
    expect(lines(checkQueues({ ...base, rx: 1 }))).toEqual([
      "info 1 receive queue for 4 cores: packets arrive on at most 1 of them at a time",
      "-> Which ones is up to the interrupts (/proc/interrupts). Where the hardware has more: ethtool -L eth0 combined 4",
    ]);
  });

  test("not known", () => {
    expect(lines(checkQueues({ ...base, rx: undefined }))).toEqual([
      "info how many receive queues eth0 has is not known",
    ]);
  });

  test("on veth", () => {
    expect(lines(checkQueues({ ...base, rx: 1, peerTx: 1, isVeth: true }))).toEqual([
      "ok 1 receive queue for 4 cores; on a veth a packet is received on the core that sent it",
    ]);
  });

  test("fewer than the veth peer sends on, where `up` takes generic mode anyway", () => {
    expect(checkQueues({ ...base, native: false, rx: 1, peerTx: 2, isVeth: true })[0]?.level).toBe("warn");
  });

  test("fewer than the veth peer sends on", () => {
    expect(lines(checkQueues({ ...base, rx: 1, peerTx: 2, isVeth: true }))).toEqual([
      "fail eth0 has 1 receive queue, and its veth peer sends on 2: the kernel refuses native XDP there",
      "-> Give it as many (ethtool -L eth0 rx 2), or the peer as few, or use generic mode: up --xdp-mode generic",
    ]);
  });
});

describe("steering and offloads", () => {
  test("RPS off", () => {
    expect(lines(checkSteering({ name: "eth0", steered: { value: [] } }))).toEqual([
      "ok receive packet steering (RPS) of eth0 is off",
    ]);
  });

  test("RPS on", () => {
    const steered = {
      value: [
        { queue: "rx-0", mask: "f" },
        { queue: "rx-1", mask: "3" },
      ],
    };
    expect(lines(checkSteering({ name: "eth0", steered }))).toEqual([
      "warn receive packet steering (RPS) of eth0 moves packets to other cores after XDP " +
        "(rx-0 to CPU mask f, rx-1 to CPU mask 3): TC ingress may run elsewhere",
      "-> Turn it off for each queue: echo 0 > /sys/class/net/eth0/queues/rx-0/rps_cpus",
    ]);
  });

  test("RPS out of sight", () => {
    const steered = { unknown: "/sys shows another network namespace" };
    expect(lines(checkSteering({ name: "eth0", steered }))).toEqual([
      "info receive packet steering of eth0: could not be looked at (/sys shows another network namespace)",
    ]);
  });

  const offloads = (lro: boolean | undefined, gro: boolean | undefined) =>
    lines(checkOffloads({ name: "eth0", enter, lro: { value: lro }, gro: { value: gro } }));

  test("LRO off", () => {
    expect(offloads(false, true)).toEqual(["ok large receive offload of eth0 is off; GRO is on"]);
  });

  test("LRO not known to the driver", () => {
    expect(offloads(undefined, undefined)).toEqual([
      "ok large receive offload of eth0 is not known to its driver",
    ]);
  });

  test("LRO on", () => {
    expect(offloads(true, true)).toEqual([
      "warn large receive offload of eth0 is on: drivers refuse native XDP with it",
      "-> Turn it off: ethtool -K eth0 lro off",
    ]);
  });
});

describe("the checksum trap", () => {
  const quiet = { value: { udp: 0, tcp: 0 } };
  const nativeNow = false;
  const named = { path: "/run/netns/blue", inode: 1, name: "blue", pid: undefined };
  const ofProcess = { path: "/proc/42/ns/net", inode: 2, name: undefined, pid: 42 };
  const peer = { name: "peer0", netns: undefined, offload: { value: true } };
  const trap = (facts: Partial<Parameters<typeof checkChecksumTrap>[0]>) =>
    lines(checkChecksumTrap({ name: "eth0", enter, nativeNow, dropped: quiet, peer, ...facts }));

  test("disarmed", () => {
    expect(trap({ peer: { ...peer, netns: named, offload: { value: false } } })).toEqual([
      "ok eth0's veth peer peer0 in network namespace blue computes its checksums itself, so none are lost",
    ]);
  });

  test("cause, symptom and cure, with the peer in a named namespace", () => {
    expect(trap({ peer: { ...peer, netns: named } })).toEqual([
      "warn eth0's veth peer peer0 in network namespace blue leaves checksums to the hardware, and a veth has none: " +
        "native XDP with a CPU map loses every UDP and TCP packet from it, while ping works",
      "-> For native XDP have the peer compute them: ip netns exec blue ethtool -K peer0 tx off\n" +
        "Else `up` takes generic XDP, which is slower and loses none.",
    ]);
  });

  test.each([
    [
      "in a process's namespace",
      { peer: { ...peer, netns: ofProcess } },
      "nsenter --target 42 --net ethtool",
    ],
    ["in the same namespace", {}, "have the peer compute them: ethtool -K peer0 tx off"],
    [
      "in the same, other than the user's",
      { enter: "ip netns exec red" },
      "ip netns exec red ethtool -K peer0",
    ],
  ])("the cure for a peer %s", (_where, facts, command) => {
    expect(trap(facts)[1]).toContain(command);
  });

  test("the damage so far is evidence", () => {
    expect(trap({ nativeNow: true, dropped: { value: { udp: 40, tcp: 3 } } })[0]).toMatch(
      /while ping works; eth0 has a native XDP program now \(dropped for their checksum in this namespace so far: 40 UDP, 3 TCP; InCsumErrors\)$/,
    );
  });

  test("out of sight", () => {
    expect(trap({ peer: { hidden: "no name leads there", netns: undefined } })).toEqual([
      "warn whether the veth peer of eth0 leaves checksums to the hardware could not be looked at: no name leads there",
      "-> If UDP and TCP fail under native XDP while ping works, turn that off at the peer: ethtool -K PEER tx off",
    ]);
    expect(trap({ peer: { hidden: "EPERM", netns: ofProcess } })[0]).toContain(
      "the veth peer of eth0 (in network namespace of process 42)",
    );
    expect(trap({ peer: { ...peer, offload: { value: undefined } } })[0]).toContain(
      "its driver does not say",
    );
    expect(trap({ peer: { ...peer, offload: denied } })[0]).toContain("it takes root");
  });

  test("the counters of /proc/net/snmp", () => {
    const snmp =
      "Tcp: InSegs InErrs OutRsts InCsumErrors\nTcp: 5 4 3 2\n" +
      "Udp: InDatagrams NoPorts InErrors InCsumErrors IgnoredMulti\nUdp: 9 8 7 6 5\n" +
      "UdpLite: InDatagrams InCsumErrors\nUdpLite: 0 99\n";
    expect(parseChecksumErrors(snmp)).toEqual({ udp: 6, tcp: 2 });
    expect(parseChecksumErrors("")).toEqual({ udp: 0, tcp: 0 });
  });
});

describe("what is attached", () => {
  const program = (ours: boolean, linkId?: number) => ({
    id: 7,
    mode: "native" as const,
    details: { value: { name: "xdp_x", ours, linkId } },
  });
  const slot = (...programs: Parameters<typeof checkXdpSlot>[0]["programs"]) =>
    lines(checkXdpSlot({ name: "eth0", enter, programs }));

  test("no XDP", () => expect(slot()).toEqual(["ok no XDP program is attached to eth0"]));

  test("our XDP", () => {
    expect(slot(program(true))).toEqual([
      "ok our own XDP program is attached to eth0: 'xdp_x' (id 7, native)",
    ]);
  });

  test("somebody else's XDP", () => {
    expect(slot(program(false))).toEqual([
      "fail somebody else's XDP program is attached to eth0: 'xdp_x' (id 7, native)",
      "-> Detach it (ip link set dev eth0 xdpdrv off), or replace it for good with up --force.",
    ]);
  });

  test("somebody else's XDP on a link, which no force replaces", () => {
    expect(slot(program(false, 9))).toEqual([
      "fail somebody else's XDP program holds eth0 through bpf_link 9: 'xdp_x' (id 7, native)",
      "-> Only its owner can detach it: end the program that does, or its pin (bpftool link show id 9).",
    ]);
  });

  test("XDP of an unknown owner", () => {
    expect(slot({ id: 7, mode: "generic", details: denied })).toEqual([
      "warn an XDP program is attached to eth0 (id 7, generic); whose it is could not be looked at (it takes root: bpf(BPF_PROG_QUERY) says EPERM)",
      "-> Run doctor as root to find out. `up` replaces only its own.",
    ]);
  });

  test("TC", () => {
    const tc = { hook: "ingress", list: "tcx", progId: 3, name: "tc_x" } as const;
    expect(lines(checkTc({ name: "eth0", programs: { value: [] } }))).toEqual([
      "ok no TC program is attached to eth0",
    ]);
    expect(lines(checkTc({ name: "eth0", programs: { value: [{ ...tc, ours: true }] } }))).toEqual([
      "ok our own TC ingress program is attached to eth0: 'tc_x' (id 3, tcx)",
    ]);
    const other = { ...tc, hook: "egress", list: "tcx", linkId: 5, ours: false } as const;
    expect(lines(checkTc({ name: "eth0", programs: { value: [other] } }))).toEqual([
      "info somebody else's TC egress program is attached to eth0: 'tc_x' (id 3, tcx, bpf_link 5)",
      "-> Ours runs as well, unless one that runs before it decides the packet's fate. TCX runs before clsact.",
    ]);
    expect(lines(checkTc({ name: "eth0", programs: denied }))[0]).toContain(
      "info the TC programs of eth0: could not",
    );
  });
});

describe("what cannot be looked at", () => {
  test.each([
    [
      new SyscallError("bpf(BPF_PROG_QUERY)", EPERM, { x: 1 }),
      "it takes root: bpf(BPF_PROG_QUERY) says EPERM",
    ],
    [new SyscallError("open", EINVAL), "open says EINVAL"],
    [new NetlinkError("RTM_GETLINK", EPERM, "no"), "it takes root: RTM_GETLINK says EPERM"],
    [new Error("one\ntwo"), "one"],
    ["text", "text"],
  ])("%s", (thrown, unknown) => {
    const look = (): never => {
      throw thrown;
    };
    expect(read(look)).toEqual({ unknown });
    expect(guard("mtu", look)).toEqual([
      { level: "info", check: "mtu", what: `mtu: could not be looked at (${unknown})` },
    ]);
  });
});

describe("ethtool, where advice takes it", () => {
  const advice: Finding = { level: "warn", check: "x", what: "y", fix: "ethtool -K eth0 lro off" };
  const other: Finding = { level: "warn", check: "x", what: "y", fix: "ip link set eth0 mtu 1500" };

  test("is asked for where it is missing, and not otherwise", () => {
    expect(lines(checkEthtool([other, advice], () => false))).toEqual([
      "info ethtool, which advice below takes, is not installed (tsbpf itself does without)",
      "-> Debian and Ubuntu: apt-get install ethtool",
    ]);
    expect(checkEthtool([other, advice], () => true)).toEqual([]);
    expect(checkEthtool([other], () => false)).toEqual([]);
  });

  test("a command is looked for in the PATH", () => {
    expect([isInstalled("sh"), isInstalled("no-such-command-anywhere")]).toEqual([true, false]);
  });
});

test("a thread that is stuck in another namespace ends everything", () => {
  const look = (): never => {
    throw new NetnsRestoreError("stuck");
  };
  expect(() => read(look)).toThrow("stuck");
  expect(() => guard("mtu", look)).toThrow("stuck");
});

describe("the report", () => {
  const textOf = (report: Report): readonly string[] => formatReport(report).map(stripVTControlCharacters);
  const finding = (level: Finding["level"], fix?: string): Finding => ({
    level,
    check: "x",
    what: `${level}!`,
    ...(fix === undefined ? {} : { fix }),
  });

  test("lines with the remedies below what they are for", () => {
    const report = {
      machine: [finding("ok")],
      interfaces: { eth0: [finding("warn", "do this\nor that"), finding("info")] },
    };
    expect(textOf(report)).toEqual([
      "machine",
      "  ✔ ok!",
      "eth0",
      "  ⚠ warn!",
      "      do this",
      "      or that",
      "  ℹ info!",
      "nothing is in the way of `up`, and 1 warning",
    ]);
    expect(isHealthy(report)).toBe(true);
  });

  test.each([
    [[finding("ok")], true, "nothing is in the way of `up`"],
    [[finding("fail")], false, "1 problem in the way of `up`"],
    [
      [finding("fail"), finding("fail"), finding("warn"), finding("warn")],
      false,
      "2 problems in the way of `up`, and 2 warnings",
    ],
  ])("verdict %#", (findings, healthy, summary) => {
    const report = { machine: [], interfaces: { eth0: findings } };
    expect(isHealthy(report)).toBe(healthy);
    expect(textOf(report).at(-1)).toBe(summary);
  });
});
