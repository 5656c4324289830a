/** What doctor says about real interfaces, held against what the kernel, the packets and `up` really do. */
import { closeSync, openSync, readFileSync, statSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, expect, test } from "vitest";
import { mov32 } from "../../src/asm/alu.ts";
import { exit } from "../../src/asm/jump.ts";
import { schedCls, xdp } from "../../src/asm/program.ts";
import { r0 } from "../../src/asm/register.ts";
import { parseChecksumErrors } from "../../src/cli/doctor/device/checksum-trap.ts";
import type { Finding } from "../../src/cli/doctor/finding.ts";
import { readCpus } from "../../src/kernel/cpus.ts";
import { BpfMap } from "../../src/kernel/map.ts";
import { BpfProgram } from "../../src/kernel/program.ts";
import { tcxBackend } from "../../src/kernel/tc/tcx.ts";
import {
  atVethPeer,
  findVethPeer,
  fixVethChecksum,
  type VethPeer,
  vethChecksumTrap,
} from "../../src/kernel/veth.ts";
import { attachXdp, type XdpMode } from "../../src/kernel/xdp.ts";
import { cpuMapDef } from "../../src/programs/cpu-map.ts";
import { xdpSameCpu } from "../../src/programs/xdp-same-cpu.ts";
import { linkCreate } from "../../src/syscall/bpf-link.ts";
import { Fd } from "../../src/syscall/fd.ts";
import { linuxSyscalls } from "../../src/syscall/ffi.ts";
import { NetlinkSocket } from "../../src/syscall/netlink.ts";
import { type Link, linkByName } from "../../src/syscall/rtnetlink.ts";
import { BPF_XDP, TC_ACT_OK, XDP_PASS } from "../../src/uapi/bpf.ts";
import { watchFds } from "../support/fd-leak.ts";
import { getOffload, inNetns, setOffload } from "../support/in-netns.ts";
import {
  createTestNet,
  type ExecOptions,
  type ExecResult,
  type Side,
  type TestNet,
} from "../support/netns.ts";
import { describeKernel, withoutPrivileges } from "../support/privileges.ts";

const sys = linuxSyscalls();
const MAIN = fileURLToPath(new URL("../../src/main.ts", import.meta.url));
/** tsx's own command would start a second process. */
const TSX = ["--import", "tsx"];

let net: TestNet;
let leaks: () => readonly string[];
beforeEach(() => {
  leaks = watchFds();
});
afterEach(() => {
  net?.dispose();
  expect(leaks()).toEqual([]);
});

/** Runs `fn` with an rtnetlink socket of one side, and one of its interfaces. */
function on<T>(side: Side, name: string, fn: (route: NetlinkSocket, link: Link) => T): T {
  return inNetns(net[side].path, () => {
    using route = NetlinkSocket.route(sys);
    const link = linkByName(route, name);
    if (link === undefined) throw new Error(`no ${name}`);
    return fn(route, link);
  });
}

function cli(side: Side, args: readonly string[], options: ExecOptions = {}): Promise<ExecResult> {
  return net.exec(side, process.execPath, [...TSX, MAIN, ...args], { allowFailure: true, ...options });
}

interface DoctorJson {
  readonly healthy: boolean;
  readonly machine: readonly Finding[];
  readonly interfaces: Readonly<Record<string, readonly Finding[]>>;
}

async function doctor(side: Side, args: readonly string[]): Promise<DoctorJson & { readonly code: number }> {
  const { stdout, code } = await cli(side, ["doctor", "--json", ...args]);
  return { ...(JSON.parse(stdout) as DoctorJson), code };
}

function finding(report: DoctorJson, name: string, check: string): Finding | undefined {
  return report.interfaces[name]?.find((one) => one.check === check);
}

function visible(found: ReturnType<typeof findVethPeer>): VethPeer {
  if (found === undefined || "hidden" in found) throw new Error(`no peer in sight: ${found?.hidden}`);
  return found;
}

describeKernel("the peer of a veth", () => {
  test("in another namespace, which has a name", async () => {
    net = await createTestNet();
    const { outside } = net;
    on("inside", "eth0", (route, link) => {
      const peer = visible(findVethPeer(sys, route, link));
      expect(peer.link).toMatchObject({ name: "peer0", kind: "veth", peerIndex: link.index });
      expect(peer.netns).toEqual({
        path: outside.path,
        inode: outside.inode,
        name: outside.name,
        pid: undefined,
      });
      // The thread is back where it was.
      expect(statSync("/proc/thread-self/ns/net").ino).toBe(net.inside.inode);
    });
  });

  test("in the same namespace", async () => {
    net = await createTestNet();
    await net.exec("inside", "ip", ["link", "add", "left", "type", "veth", "peer", "name", "right"]);
    on("inside", "left", (route, link) => {
      const peer = visible(findVethPeer(sys, route, link));
      expect(peer.link.name).toBe("right");
      expect(peer.netns).toBeUndefined();
      expect(vethChecksumTrap(sys, route, link)).toEqual({ peer, netnsName: undefined, offload: true });
      const undo = fixVethChecksum(sys, peer);
      expect(vethChecksumTrap(sys, route, link)).toMatchObject({ offload: false });
      undo();
      expect(vethChecksumTrap(sys, route, link)).toMatchObject({ offload: true });
    });
  });

  test("in a namespace that only a process leads to, and then none", async () => {
    net = await createTestNet();
    const holder = net.spawn("outside", "unshare", ["--net", "sh", "-c", "echo ready; exec sleep 60"]);
    await holder.waitFor("ready");
    const pid = Number(holder.child.pid);
    await net.exec("inside", "ip", ["link", "add", "near", "type", "veth", "peer", "name", "far"]);
    await net.exec("inside", "ip", ["link", "set", "far", "netns", `${pid}`]);
    on("inside", "near", (route, link) => {
      const peer = visible(findVethPeer(sys, route, link));
      expect(peer).toMatchObject({ link: { name: "far" }, netns: { pid, name: undefined } });
      const undo = fixVethChecksum(sys, peer);
      expect(getOffload(`/proc/${pid}/ns/net`, "far", "txChecksum")).toBe(false);
      undo();
      expect(getOffload(`/proc/${pid}/ns/net`, "far", "txChecksum")).toBe(true);
    });
    const report = await doctor("inside", ["near"]);
    expect(finding(report, "near", "checksum-trap")?.fix).toContain(
      `nsenter --target ${pid} --net ethtool -K far tx off`,
    );

    // Only our descriptor keeps the namespace alive now: the peer exists, and there is no way to find it.
    const kept = openSync(`/proc/${pid}/ns/net`, "r");
    try {
      await holder.stop("SIGKILL");
      on("inside", "near", (route, link) => {
        expect(findVethPeer(sys, route, link)).toEqual({
          hidden: expect.stringMatching(
            /^no name and no process .* leads to its network namespace \(id \d+\)$/,
          ),
          netns: undefined,
        });
        expect(vethChecksumTrap(sys, route, link)).toBe("unknown");
      });
      expect(finding(await doctor("inside", ["near"]), "near", "checksum-trap")).toMatchObject({
        level: "warn",
        what: expect.stringContaining("could not be looked at: no name and no process"),
      });
    } finally {
      closeSync(kept);
    }
  });

  test("an interface of another kind has none", async () => {
    net = await createTestNet();
    await net.exec("inside", "ip", ["link", "add", "br0", "type", "bridge"]);
    for (const name of ["lo", "br0"]) {
      on("inside", name, (route, link) => {
        expect(findVethPeer(sys, route, link)).toBeUndefined();
        expect(vethChecksumTrap(sys, route, link)).toBeUndefined();
      });
    }
  });

  test("that was deleted or renamed meanwhile", async () => {
    net = await createTestNet({ secondPair: true });
    const peer = on("inside", "eth1", (route, link) => visible(findVethPeer(sys, route, link)));
    await net.exec("outside", "ip", ["link", "set", "peer1", "down"]);
    await net.exec("outside", "ip", ["link", "set", "peer1", "name", "other"]);
    expect(on("inside", "eth1", () => atVethPeer(sys, peer, ({ name }) => name))).toBe("other");
    await net.exec("outside", "ip", ["link", "del", "other"]);
    on("inside", "eth0", () => {
      expect(() => fixVethChecksum(sys, peer)).toThrow(
        /^the veth peer peer1 \(index \d+\) is not there any more$/,
      );
      expect(statSync("/proc/thread-self/ns/net").ino).toBe(net.inside.inode);
    });
  });
});

describeKernel("the checksum trap", () => {
  const errors = () =>
    inNetns(net.inside.path, () => parseChecksumErrors(readFileSync("/proc/thread-self/net/snmp", "utf8")));

  /** Attaches the sample's XDP program with entries for all cores, and takes it off afterwards. */
  async function withSample(mode: XdpMode, fn: () => Promise<void>): Promise<void> {
    const { online, possible } = readCpus();
    const def = cpuMapDef(possible.length);
    using cpus = BpfMap.create(def, { sys });
    using program = BpfProgram.load(xdpSameCpu(def, { trace: false }), { sys, maps: [cpus] });
    for (const cpu of online) cpus.set(cpu, { qsize: 192, prog: 0 });
    const attached = inNetns(net.inside.path, () => attachXdp(program, "eth0", { sys, mode }));
    try {
      await fn();
    } finally {
      inNetns(net.inside.path, () => attached.detach());
    }
  }

  test("native: UDP and TCP lost, ping fine; cured at the peer, and back with the undo", async () => {
    net = await createTestNet({ txChecksumOffload: true });
    await withSample("native", async () => {
      expect(on("inside", "eth0", (route, link) => vethChecksumTrap(sys, route, link))).toMatchObject({
        offload: true,
        netnsName: net.outside.name,
      });
      expect(await net.ping({ count: 3 })).toMatchObject({ sent: 3, received: 3 });
      expect(await net.udpOneWay({ count: 20, timeoutMs: 4000 })).toMatchObject({ sent: 20, received: 0 });
      expect(await net.tcpEcho({ bytes: 1000, timeoutMs: 1500 })).toMatchObject({
        intact: 0,
        error: "timeout",
      });
      const lost = errors();
      expect(lost.udp).toBe(20);
      expect(lost.tcp).toBeGreaterThan(0);
      expect(finding(await doctor("inside", ["eth0"]), "eth0", "checksum-trap")).toEqual({
        level: "warn",
        check: "checksum-trap",
        what:
          `eth0's veth peer peer0 in network namespace ${net.outside.name} leaves checksums to the hardware, and a veth ` +
          "has none: native XDP with a CPU map loses every UDP and TCP packet from it, while ping works; eth0 has a " +
          `native XDP program now (dropped for their checksum in this namespace so far: 20 UDP, ${lost.tcp} TCP; ` +
          "InCsumErrors)",
        fix:
          `For native XDP have the peer compute them: ip netns exec ${net.outside.name} ethtool -K peer0 tx off\n` +
          "Else `up` takes generic XDP, which is slower and loses none.",
      });

      const undo = on("inside", "eth0", (route, link) =>
        fixVethChecksum(sys, visible(findVethPeer(sys, route, link))),
      );
      expect(on("inside", "eth0", (route, link) => vethChecksumTrap(sys, route, link))).toMatchObject({
        offload: false,
      });
      expect(await net.udpOneWay({ count: 20 })).toMatchObject({ sent: 20, received: 20 });
      expect(await net.tcpEcho({ bytes: 100_000 })).toMatchObject({ intact: 1, error: null });
      expect(errors()).toEqual(lost);

      inNetns(net.inside.path, undo);
      expect(getOffload(net.outside.path, "peer0", "txChecksum")).toBe(true);
      expect(await net.udpOneWay({ count: 20, timeoutMs: 4000 })).toMatchObject({ received: 0 });
    });
    // It is the CPU map that loses them: without it the same packets arrive.
    expect(await net.udpOneWay({ count: 20 })).toMatchObject({ received: 20 });
  });

  test("generic mode, which doctor recommends, loses nothing", async () => {
    net = await createTestNet({ txChecksumOffload: true });
    await withSample("generic", async () => {
      expect(await net.udpOneWay({ count: 20 })).toMatchObject({ sent: 20, received: 20 });
      expect(await net.tcpEcho({ bytes: 100_000 })).toMatchObject({ intact: 1 });
      expect(errors()).toEqual({ udp: 0, tcp: 0 });
    });
  });

  test("the undo leaves alone what was off before", async () => {
    net = await createTestNet();
    const undo = on("inside", "eth0", (route, link) =>
      fixVethChecksum(sys, visible(findVethPeer(sys, route, link))),
    );
    inNetns(net.inside.path, undo);
    expect(getOffload(net.outside.path, "peer0", "txChecksum")).toBe(false);
  });
});

describeKernel("doctor", () => {
  test("a healthy veth: exit 0, and every check has its say", async () => {
    net = await createTestNet({ queues: 2 });
    const report = await doctor("inside", ["eth0"]);
    expect(report).toMatchObject({ healthy: true, code: 0 });
    const checks = new Set(report.machine.map(({ check }) => check.replace(/\..*/, "")));
    expect([...checks]).toEqual([
      ...["kernel", "bpftool", "capabilities", "jit", "cpus", "bpffs", "tracefs", "kernel-btf"],
      ...["unprivileged-bpf", "lockdown", "node"],
    ]);
    expect(report.interfaces["eth0"]?.map(({ check, level }) => `${check} ${level}`)).toEqual([
      ...["state ok", "driver ok", "mtu ok", "queues ok", "steering info", "offloads ok", "checksum-trap ok"],
      ...["xdp ok", "tc ok"],
    ]);
    expect(finding(report, "eth0", "driver")?.what).toMatch(
      /^driver veth has native XDP with redirect \(BASIC, RED/,
    );
    expect(finding(report, "eth0", "queues")?.what).toMatch(/^2 receive queues for \d+ core/);
  });

  test("text for people", async () => {
    net = await createTestNet();
    const { stdout, stderr, code } = await cli("inside", ["doctor", "eth0"], { env: { NO_COLOR: "1" } });
    expect(stdout).toMatch(/^machine\n {2}✔ Linux \d/);
    expect(stdout).toContain("\neth0\n  ✔ eth0 is up and has a carrier\n");
    expect(stdout).toMatch(/\nnothing is in the way of `up`(, and \d warnings?)?\n$/);
    expect({ stderr, code }).toEqual({ stderr: "", code: 0 });
  });

  test("from outside with --netns: the same, and commands say where to run", async () => {
    net = await createTestNet();
    await net.exec("inside", "ip", ["link", "add", "br0", "type", "bridge"]);
    const report = await doctor("outside", ["br0", "--netns", net.inside.name]);
    expect(finding(report, "br0", "state")).toMatchObject({
      level: "warn",
      fix: `Set it up: ip netns exec ${net.inside.name} ip link set br0 up`,
    });
    expect(finding(report, "br0", "driver")).toMatchObject({
      level: "warn",
      what: "driver bridge has no native XDP",
    });
    expect(finding(report, "br0", "checksum-trap")).toBeUndefined();
    const missing = await doctor("outside", ["--netns", "tsbpf-no-such-netns"]);
    expect(missing.code).toBe(1);
    expect(missing.machine.at(-1)).toMatchObject({
      check: "netns",
      what: "network namespace tsbpf-no-such-netns cannot be entered: open says ENOENT",
    });
  });

  test("inside `ip netns exec`, whose /sys is that of the namespace", async () => {
    net = await createTestNet({ queues: 2 });
    const { stdout } = await cli("inside", ["doctor", "--json", "eth0"], { via: "ip-netns" });
    const off = finding(JSON.parse(stdout) as DoctorJson, "eth0", "steering");
    expect(off).toMatchObject({ level: "ok", what: "receive packet steering (RPS) of eth0 is off" });
    const steer = "echo 1 > /sys/class/net/eth0/queues/rx-1/rps_cpus";
    await net.exec("inside", "sh", ["-c", steer], { via: "ip-netns" });
    const again = await cli("inside", ["doctor", "--json", "eth0"], { via: "ip-netns" });
    expect(finding(JSON.parse(again.stdout) as DoctorJson, "eth0", "steering")).toMatchObject({
      level: "warn",
      what: expect.stringMatching(/\(rx-1 to CPU mask [0,]*1\)/),
    });
  });

  test("no such interface", async () => {
    net = await createTestNet();
    const report = await doctor("inside", ["eth7", "eth0", "a-name-of-16-byte"]);
    expect(report).toMatchObject({ healthy: false, code: 1 });
    expect(report.interfaces["eth7"]).toEqual([
      {
        level: "fail",
        check: "exists",
        what: "there is no interface 'eth7' in this network namespace",
        fix: "There are: lo, eth0.",
      },
    ]);
    expect(finding(report, "a-name-of-16-byte", "exists")?.what).toContain("too long for an interface name");
    expect(finding(report, "eth0", "state")?.level).toBe("ok");
  });

  const nothing = xdp("somebody", { entry: [mov32(r0, XDP_PASS), exit()] });

  test("somebody else's programs: up --force gets past XDP over netlink, and TC is in nobody's way", async () => {
    net = await createTestNet();
    using program = BpfProgram.load(nothing, { sys });
    using tc = BpfProgram.load(schedCls("somebody_tc", { entry: [mov32(r0, TC_ACT_OK), exit()] }), { sys });
    const attached = on("inside", "eth0", (_route, { index }) => {
      tcxBackend(sys).attach(tc, { ifindex: index, name: "eth0" }, "egress");
      return attachXdp(program, "eth0", { sys, mode: "native" });
    });
    const report = await doctor("inside", ["eth0"]);
    expect(report).toMatchObject({ healthy: false, code: 1 });
    expect(finding(report, "eth0", "xdp")).toEqual({
      level: "fail",
      check: "xdp",
      what: `somebody else's XDP program is attached to eth0: 'somebody' (id ${attached.progId}, native)`,
      fix: "Detach it (ip link set dev eth0 xdpdrv off), or replace it for good with up --force.",
    });
    expect(finding(report, "eth0", "tc")).toMatchObject({
      level: "info",
      what: `somebody else's TC egress program is attached to eth0: 'somebody_tc' (id ${tc.info().id}, tcx)`,
    });
    // The first cure of the text works.
    await net.exec("inside", "ip", ["link", "set", "dev", "eth0", "xdpdrv", "off"]);
    expect(await doctor("inside", ["eth0"])).toMatchObject({ healthy: true, code: 0 });
  });

  test("somebody else's XDP on a bpf_link", async () => {
    net = await createTestNet();
    using program = BpfProgram.load(nothing, { sys });
    const held = on("inside", "eth0", (_route, { index }) =>
      linkCreate(sys, { prog_fd: program.fd, target_ifindex: index, attach_type: BPF_XDP }),
    );
    using _link = Fd.own(sys, held, "link");
    expect(finding(await doctor("inside", ["eth0"]), "eth0", "xdp")).toMatchObject({
      level: "fail",
      what: expect.stringMatching(/^somebody else's XDP program holds eth0 through bpf_link \d+: 'somebody'/),
    });
  });

  test("what is ours is found as ours", async () => {
    net = await createTestNet();
    expect((await cli("inside", ["up", "eth0", "--tc", "tcx"])).code).toBe(0);
    try {
      const report = await doctor("inside", ["eth0"]);
      expect(report).toMatchObject({ healthy: true, code: 0 });
      expect(finding(report, "eth0", "xdp")?.what).toMatch(
        /^our own XDP program is attached to eth0: 'xdp_same_cpu'/,
      );
      const tc = report.interfaces["eth0"]?.filter(({ check }) => check === "tc").map(({ what }) => what);
      expect(tc).toEqual([
        expect.stringMatching(
          /^our own TC ingress program is attached to eth0: 'tc_ingress' \(id \d+, tcx\)$/,
        ),
        expect.stringMatching(/^our own TC egress program is attached to eth0: 'tc_egress' \(id \d+, tcx\)$/),
      ]);
    } finally {
      await cli("inside", ["down", "eth0"]);
    }
  });

  test("a peer with a large MTU is no obstacle, in either mode", async () => {
    net = await createTestNet();
    await net.exec("outside", "ip", ["link", "set", "peer0", "mtu", "9000"]);
    expect(finding(await doctor("inside", ["eth0"]), "eth0", "mtu")?.level).toBe("ok");
    try {
      for (const mode of ["native", "generic"]) {
        expect((await cli("inside", ["up", "eth0", "--tc", "tcx", "--xdp-mode", mode])).code).toBe(0);
        expect(await net.ping({ count: 2 })).toMatchObject({ received: 2 });
      }
    } finally {
      await cli("inside", ["down", "eth0"]);
    }
  });

  // What doctor calls a failure must really be one, and its cure must be one.
  test.each([
    {
      obstacle: "fewer receive queues than the peer sends on",
      make: () =>
        net.exec("inside", "ip", [
          ...["link", "add", "few", "up", "numrxqueues", "1", "numtxqueues", "1", "type", "veth"],
          ...["peer", "name", "many", "numtxqueues", "2", "numrxqueues", "2"],
        ]),
      dev: "few",
      peer: ["inside", "many"],
      check: "queues",
    },
  ] as const)("up fails as doctor says: $obstacle", async ({ make, dev, peer: [side, peer], check }) => {
    net = await createTestNet();
    const up = async (...args: string[]) => (await cli("inside", ["up", dev, "--tc", "tcx", ...args])).code;
    try {
      await make();
      setOffload(net[side].path, peer, "txChecksum", false);
      const report = await doctor("inside", [dev]);
      expect(report).toMatchObject({ healthy: false, code: 1 });
      const fix = expect.stringContaining("up --xdp-mode generic");
      expect(finding(report, dev, check)).toMatchObject({ level: "fail", fix });
      expect(await up()).toBe(1);
      expect(await up("--xdp-mode", "generic")).toBe(0);
      await cli("inside", ["down", "--all"]);

      // In the checksum trap `up` goes for generic mode, and then it is no obstacle.
      setOffload(net[side].path, peer, "txChecksum", true);
      const trapped = await doctor("inside", [dev]);
      expect(trapped).toMatchObject({ healthy: true, code: 0 });
      expect(finding(trapped, dev, check)).toMatchObject({ level: "warn", fix });
      expect(await up()).toBe(0);
    } finally {
      await cli("inside", ["down", "--all"]);
    }
  });

  test("without root: says what it could not look at, and that root is missing", async () => {
    net = await createTestNet({ txChecksumOffload: true });
    const [setpriv, ...options] = withoutPrivileges();
    const { stdout, stderr, code } = await net.exec(
      "inside",
      setpriv,
      [...options, process.execPath, ...TSX, MAIN, "doctor", "--json", "eth0"],
      { allowFailure: true },
    );
    expect({ stderr, code }).toEqual({ stderr: "", code: 1 });
    const report = JSON.parse(stdout) as DoctorJson;
    const failures = [...report.machine, ...(report.interfaces["eth0"] ?? [])].filter(
      ({ level }) => level === "fail",
    );
    expect(failures.map(({ what }) => what)).toEqual([
      "the process lacks CAP_SYS_ADMIN, CAP_NET_ADMIN, CAP_BPF, CAP_PERFMON",
    ]);
    expect(finding(report, "eth0", "state")?.level).toBe("ok");
    expect(finding(report, "eth0", "driver")?.level).toBe("ok");
    expect(finding(report, "eth0", "checksum-trap")).toMatchObject({
      level: "warn",
      what:
        `whether the veth peer of eth0 (in network namespace ${net.outside.name}) leaves checksums to the hardware could ` +
        "not be looked at: entering its network namespace failed: setns(CLONE_NEWNET) says EPERM",
    });
    expect(finding(report, "eth0", "tc")?.what).toContain("it takes root: bpf(BPF_PROG_QUERY) says EPERM");
  });

  test("it changes nothing", async () => {
    net = await createTestNet({ txChecksumOffload: true });
    setOffload(net.inside.path, "eth0", "gro", true);
    const before = (await net.exec("inside", "ip", ["-d", "-s", "link", "show", "eth0"])).stdout;
    await cli("inside", ["doctor", "eth0"]);
    expect((await net.exec("inside", "ip", ["-d", "-s", "link", "show", "eth0"])).stdout).toBe(before);
    expect(getOffload(net.outside.path, "peer0", "txChecksum")).toBe(true);
    expect(getOffload(net.inside.path, "eth0", "gro")).toBe(true);
  });
});
