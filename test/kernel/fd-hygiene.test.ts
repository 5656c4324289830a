import { setTimeout } from "node:timers/promises";
import { getHeapSpaceStatistics, setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { afterAll, beforeAll, expect, test } from "vitest";
import { exit, mapDef, mov32, program, r0 } from "../../src/asm/index.ts";
import { u32 } from "../../src/btf/layout/index.ts";
import { attachSocketFilter } from "../../src/kernel/link/socket.ts";
import { attachRawTracepoint } from "../../src/kernel/link/tracepoint.ts";
import { BpfMap } from "../../src/kernel/map.ts";
import { createMetadata } from "../../src/kernel/metadata.ts";
import { BpfProgram } from "../../src/kernel/program.ts";
import { attachTc } from "../../src/kernel/tc/attach.ts";
import { detachTc, listTc } from "../../src/kernel/tc/list.ts";
import { attachXdp, detachXdp } from "../../src/kernel/xdp.ts";
import { cpuMapDef, tcEgress, tcIngress, xdpSameCpu } from "../../src/programs/index.ts";
import { check } from "../../src/syscall/errno.ts";
import { Fd } from "../../src/syscall/fd.ts";
import { NetlinkSocket } from "../../src/syscall/netlink.ts";
import { linkByName } from "../../src/syscall/rtnetlink.ts";
import type { Syscalls } from "../../src/syscall/syscalls.ts";
import { EIO } from "../../src/uapi/errno.ts";
import { AF_INET, SOCK_CLOEXEC, SOCK_DGRAM } from "../../src/uapi/net.ts";
import { eachFailure } from "../support/failing-syscalls.ts";
import { openFds, watchFds } from "../support/fd-leak.ts";
import { inNetns } from "../support/in-netns.ts";
import { createTestNet, type TestNet } from "../support/netns.ts";
import { describeKernel } from "../support/privileges.ts";
import { tracedSyscalls } from "./syscall/support.ts";

/** How often everything is loaded, attached, detached and closed. */
const CYCLES = 10_000;
/** How many bytes they may leave behind: not even 32 a cycle, the size of a small object. */
const FREE = CYCLES * 32;

const sys = tracedSyscalls();
const cpus = cpuMapDef(1);
const counts = mapDef({ name: "counts", type: "hash", key: u32, value: u32, maxEntries: 4 });
const watch = program("raw_tracepoint", "watch", { entry: [mov32(r0, 0), exit()] });
const filter = program("socket_filter", "filter", { entry: [mov32(r0, 0xffff), exit()] });
let net: TestNet;

/** The cheapest that there is: a map, a program, an attachment; every now and then through a bpf_link. */
function smallCycle(via: Syscalls, socket: Fd, linked: boolean): void {
  using list = BpfMap.create(counts, { sys: via });
  list.set(0, 1);
  if (linked) {
    using prog = BpfProgram.load(watch, { sys: via });
    using _link = attachRawTracepoint(prog, "sched_process_exec", { sys: via });
    return;
  }
  using prog = BpfProgram.load(filter, { sys: via });
  using _attached = attachSocketFilter(prog, socket.number, { sys: via });
}

/**
 * From nothing to nothing: maps, programs, metadata, TC. XDP, TCX and CPU maps wait for RCU grace periods, some 100 ms of
 * them, so only some of the cycles have those.
 */
function cycle(via: Syscalls, extent: "quick" | "whole"): void {
  const whole = extent === "whole";
  using list = BpfMap.create(counts, { sys: via });
  list.set(0, 1);
  list.get(0);
  using tc = BpfProgram.load(tcIngress({ trace: false }), { sys: via });
  using next = BpfProgram.load(tcEgress({ trace: false }), { sys: via });
  using metadata = createMetadata(via, "test", { owner: "test" });
  metadata.bind(tc);
  using onTc = attachTc(tc, "eth0", "ingress", { sys: via, backend: whole ? "tcx" : "clsact" });
  onTc.update(next);
  if (!whole) return;
  using map = BpfMap.create(cpus, { sys: via });
  using xdp = BpfProgram.load(xdpSameCpu(cpus, { trace: false }), { sys: via, maps: [map] });
  map.set(0, { qsize: 1, prog: 0 });
  using onXdp = attachXdp(xdp, "eth0", { sys: via, mode: "generic" });
  onXdp.update(xdp);
}

/** Takes everything off eth0. */
function cleanUp(): void {
  using route = NetlinkSocket.route(sys);
  const link = linkByName(route, "eth0");
  const { genericProgId = 0 } = link?.xdp ?? {};
  detachXdp(link?.index ?? 0, genericProgId, { sys });
  for (const attachment of listTc(sys, route, link?.index ?? 0)) detachTc(sys, route, attachment);
}

/** Bytes of live objects, and of memory outside of the heap that they hold; without the machine code that V8 makes. */
async function heapUsed(): Promise<number> {
  setFlagsFromString("--expose-gc");
  const gc = runInNewContext("gc") as () => void;
  for (let round = 0; round < 3; round++) {
    gc();
    await setTimeout(50); // finalisers run in between
  }
  const data = getHeapSpaceStatistics().filter(({ space_name }) => !space_name.startsWith("code"));
  return data.reduce((sum, space) => sum + space.space_used_size, process.memoryUsage().external);
}

const count = (): number => [...openFds().values()].reduce((sum, number) => sum + number, 0);

describeKernel("file descriptors", () => {
  beforeAll(async () => {
    net = await createTestNet();
  });
  afterAll(() => net.dispose());

  test(`${CYCLES} cycles of load, attach, detach and close end with the descriptors and the memory that they began with`, async () => {
    const number = check(sys.socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), "socket");
    using socket = Fd.own(sys, number, "UDP socket");
    const run = (rounds: number): void =>
      inNetns(net.inside.path, () => {
        for (let round = 0; round < rounds; round++) {
          if (round % 500 === 0) cycle(sys, round % 2000 === 0 ? "whole" : "quick");
          else smallCycle(sys, socket, round % 100 === 0);
        }
      });
    run(2000); // whatever is opened once and kept, and compiled
    const growth: number[] = [];
    do {
      const before = { fds: count(), heap: await heapUsed() };
      run(CYCLES);
      expect(count()).toBe(before.fds);
      growth.push((await heapUsed()) - before.heap);
      // V8 may note down some 300 kB about how to compile what runs, on a busy machine more. It does so once; what leaks, leaks
      // every time.
    } while (growth.length < 3 && Math.min(...growth) >= FREE);
    expect(Math.min(...growth)).toBeLessThan(FREE);
  }, 300_000);

  test("whatever system call fails, none is left open", async () => {
    const leaks = watchFds();
    const tried = await eachFailure({
      sys,
      errno: EIO,
      run: (faulty) => inNetns(net.inside.path, () => cycle(faulty, "whole")),
      check: () => {
        expect(leaks()).toEqual([]);
        // A detach that fails leaves the attachment, and says so: take it away for the next round.
        inNetns(net.inside.path, cleanUp);
      },
    });
    expect(tried).toBeGreaterThan(20);
  });
});
