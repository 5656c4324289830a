import { existsSync, readdirSync, readFileSync } from "node:fs";
import { expect, test } from "vitest";
import type { Context } from "../../../src/cli/context.ts";
import { InterruptedError } from "../../../src/cli/interrupt.ts";
import { bringUp } from "../../../src/cli/sample/up.ts";
import { listTc } from "../../../src/kernel/tc/list.ts";
import { linuxSyscalls } from "../../../src/syscall/ffi.ts";
import { NetlinkSocket } from "../../../src/syscall/netlink.ts";
import { listLinks } from "../../../src/syscall/rtnetlink.ts";
import type { Syscalls } from "../../../src/syscall/syscalls.ts";
import { hasClsact } from "../../../src/syscall/tc-netlink.ts";
import { BPF_BTF_LOAD } from "../../../src/uapi/bpf.ts";
import { EIO } from "../../../src/uapi/errno.ts";
import { MSG_PEEK } from "../../../src/uapi/net.ts";
import { type Counted, eachFailure } from "../../support/failing-syscalls.ts";
import { watchFds } from "../../support/fd-leak.ts";
import type { TestNet } from "../../support/netns.ts";
import { describeKernel } from "../../support/privileges.ts";
import { addForeignXdp } from "./foreign.ts";
import {
  down,
  expectGone,
  follow,
  inside,
  kernelView,
  objectsOf,
  sampleNet,
  status,
  type UpOverrides,
  up,
  upRequest,
  withoutMissingBpftool,
} from "./harness.ts";

// Every system call of `up` is made to fail in turn: nothing of it may be left, and what was there before must still be.
// That no object is left follows: with nothing attached, nothing pinned and no descriptor open, nothing holds one.

/** Everything that an `up` could leave in the inner namespace and on the file systems. */
function stateOf(net: TestNet): Promise<unknown> {
  return inside(net, ({ sys, route }) => ({
    links: listLinks(route).map(({ name, index, xdp }) => ({
      name,
      native: xdp.nativeProgId,
      generic: xdp.genericProgId,
      // The handle of a filter that was removed and put back is another one.
      tc: listTc(sys, route, index).map(({ list, hook, progId }) => `${list} ${hook} ${progId}`),
      clsact: hasClsact(route, index),
    })),
    pins: pinsOf(net),
    mounts: readFileSync("/proc/self/mounts", "utf8")
      .split("\n")
      .filter((line) => / (bpf|tracefs) /.test(line)),
  }));
}

function pinsOf(net: TestNet): readonly string[] {
  const parent = "/sys/fs/bpf/tsbpf";
  const own = existsSync(parent) ? readdirSync(parent) : [];
  return own
    .filter((name) => name.startsWith(`${net.inside.inode}-`))
    .flatMap((name) => readdirSync(`${parent}/${name}`).map((pin) => `${name}/${pin}`));
}

/** Runs an `up` with its first call failing, then its second, and so on; gives how many were made to fail. */
async function failEach(
  net: TestNet,
  overrides: UpOverrides,
  counted: Counted,
  previous?: UpOverrides,
): Promise<{ readonly tried: number; readonly coped: readonly string[] }> {
  const before = await stateOf(net);
  const leaks = watchFds();
  const coped: string[] = [];
  let restored = before;
  const tried = await eachFailure({
    sys: linuxSyscalls(),
    errno: EIO,
    counted,
    run: (sys) =>
      inside(net, (context) => bringUp(context, upRequest(context, overrides)), sys).then(() => {}),
    check: async (error, { call }) => {
      if (error === undefined) {
        // It did without that call, and is up: start over from where it was.
        coped.push(call);
        await down(net);
        if (previous !== undefined) await up(net, previous);
        restored = await stateOf(net);
        return;
      }
      expect(error).toMatchObject({ message: expect.stringContaining("EIO") });
      expect((error as Error).message).not.toContain("taking back");
      expect(await stateOf(net)).toEqual(restored);
      expect(leaks()).toEqual([]);
    },
  });
  return { tried, coped };
}

/** Sessions that an `up` replaces. */
const CLSACT: UpOverrides = { tc: "clsact", xdpMode: "generic", redirect: "eth1" };
const TCX: UpOverrides = { tc: "tcx", xdpMode: "native", redirect: "eth1" };

/**
 * The calls to fail. Left out are those that repeat another one (poll and the look at a datagram's length), that `up` can
 * do without (BTF of programs), and setns(2): when the way back is barred, nothing can be done in the right place any more.
 */
const telling: Counted = (name, args) => {
  if (name === "bpf") return args[0] !== BPF_BTF_LOAD;
  if (name === "recv") return (Number(args[2]) & MSG_PEEK) === 0;
  return ["open", "socket", "bind", "sendto", "mount", "umount2"].includes(name);
};
const withoutAnswers: Counted = (name, args) => name !== "recv" && telling(name, args);
const onlyBpf: Counted = (name, args) => name === "bpf" && args[0] !== BPF_BTF_LOAD;

describeKernel("an up whose nth system call fails", () => {
  test.each(
    withoutMissingBpftool([
      { tc: "tcx", xdpMode: "generic", counted: withoutAnswers },
      { tc: "clsact", xdpMode: "generic", counted: telling },
      { tc: "bpftool", xdpMode: "native", counted: onlyBpf },
    ] as const),
  )("leaves nothing: $tc, $xdpMode", async ({ tc, xdpMode, counted }) => {
    await using net = await sampleNet({ secondPair: true });
    const overrides = { tc, xdpMode, targetProgram: true, redirect: "eth1" };
    const { tried, coped } = await failEach(net, overrides, counted);
    expect(tried).toBeGreaterThan(30);
    // A program that was refused without a log is loaded again with one.
    expect(coped.length).toBeLessThanOrEqual(4);
    expect(coped.filter((call) => call !== "bpf")).toEqual([]);
    expect((await status(net)).interfaces).toHaveLength(1);
    expect((await follow(net, { cpu: 1, kinds: ["one way"] })).problems).toEqual([]);
    await down(net);
  });

  // Lost answers are tried on the list that takes more than one request. Generic mode is asked for, since then `up` does not look for the veth's peer, which takes a hundred calls.
  test.each([
    { name: "in place", previous: CLSACT, counted: telling, overrides: CLSACT },
    {
      name: "with another backend",
      previous: CLSACT,
      counted: telling,
      overrides: { tc: "tcx", xdpMode: "generic" },
    },
    {
      name: "with another backend and mode",
      previous: TCX,
      counted: withoutAnswers,
      overrides: { tc: "clsact", xdpMode: "generic" },
    },
    {
      name: "without TC",
      previous: TCX,
      counted: withoutAnswers,
      overrides: { tc: "off", xdpMode: "generic" },
    },
  ] as const)(
    "keeps the session that it would have replaced: $name",
    async ({ previous, counted, overrides }) => {
      await using net = await sampleNet({ secondPair: true });
      await up(net, previous);
      const { tried } = await failEach(net, overrides, counted, previous);
      expect(tried).toBeGreaterThan(60);
      await down(net);
    },
  );

  test("keeps what somebody attached, although it was to be replaced by force", async () => {
    await using net = await sampleNet();
    let foreign = await addForeignXdp(net);
    let rounds = 0;
    await eachFailure({
      sys: linuxSyscalls(),
      errno: EIO,
      counted: withoutAnswers,
      run: (sys) =>
        inside(
          net,
          (context) => bringUp(context, upRequest(context, { force: true, xdpMode: "generic" })),
          sys,
        ).then(() => {}),
      check: async (error) => {
        if (error === undefined) {
          await down(net);
          foreign = await addForeignXdp(net);
          return;
        }
        const [link] = await inside(net, ({ route }) =>
          listLinks(route).filter(({ name }) => name === "eth0"),
        );
        expect(link?.xdp).toMatchObject({ nativeProgId: foreign, genericProgId: undefined });
        rounds++;
      },
    });
    expect(rounds).toBeGreaterThan(30);
    await down(net);
    await expectGone({ programs: [foreign], maps: [] });
  });
});

describeKernel("an up of two interfaces", () => {
  test("leaves neither when the second fails, and keeps what the first had", async () => {
    await using net = await sampleNet({ secondPair: true });
    const interfaces = ["eth0", "eth1"];
    // It is seen when eth0 is complete.
    const foreign = await addForeignXdp(net, "native", "eth1");
    const clean = await stateOf(net);
    await expect(up(net, { interfaces })).rejects.toThrow("eth1 already has an XDP program that is not ours");
    expect(await stateOf(net)).toEqual(clean);

    await up(net);
    const [alone, objects] = [await stateOf(net), objectsOf(await status(net))];
    for (const tc of ["tcx", "clsact"] as const) {
      await expect(up(net, { interfaces, tc })).rejects.toThrow("eth1");
      expect(await stateOf(net)).toEqual(alone);
    }
    expect(objectsOf(await status(net))).toEqual(objects);
    expect((await follow(net, { cpu: 1, kinds: ["ping"] })).problems).toEqual([]);
    await down(net);
    expect(await stateOf(net)).toEqual(clean);
    expect(kernelView(net, "eth1").xdp?.id).toBe(foreign);
  });

  test("brings both up, and down takes both down", async () => {
    await using net = await sampleNet({ secondPair: true });
    const clean = await stateOf(net);
    const { deployed } = await up(net, { interfaces: ["eth0", "eth1"] });
    expect(deployed.map(({ device }) => device.name)).toEqual(["eth0", "eth1"]);
    const objects = objectsOf(await status(net));
    expect(objects.programs).toHaveLength(6);
    expect(await net.ping({ pair: 1 })).toMatchObject({ received: 3 });
    const downs = await down(net, ["eth0", "eth1"]);
    expect(downs.map(({ interface: name, removed }) => [name, removed.length])).toEqual([
      ["eth0", 4],
      ["eth1", 4],
    ]);
    expect(await stateOf(net)).toEqual(clean);
    await expectGone(objects);
  });
});

describeKernel("an up that is interrupted", () => {
  /** Aborts once `up` has made this many system calls. */
  const abortAfter = (calls: number): { readonly sys: Syscalls; readonly signal: AbortSignal } => {
    const controller = new AbortController();
    const real = linuxSyscalls();
    let left = calls;
    const bpf: Syscalls["bpf"] = (cmd, attr) => {
      if (left-- === 0) controller.abort(new InterruptedError());
      return real.bpf(cmd, attr);
    };
    return { sys: { ...real, bpf }, signal: controller.signal };
  };

  test("takes everything back, wherever the signal came", async () => {
    await using net = await sampleNet();
    const clean = await stateOf(net);
    for (const calls of [0, 5, 15, 25]) {
      const { sys, signal } = abortAfter(calls);
      const work = (context: Context) => bringUp(context, upRequest(context, { signal }));
      await expect(inside(net, work, sys)).rejects.toThrow("interrupted: everything was taken back");
      expect(await stateOf(net)).toEqual(clean);
    }
  });

  test("stops waiting for another tsbpf", async () => {
    await using net = await sampleNet();
    await inside(net, async (context) => {
      const { lockNamespace } = await import("../../../src/cli/lock.ts");
      using _held = await lockNamespace(context.sys);
      using route = NetlinkSocket.route(context.sys);
      const controller = new AbortController();
      setTimeout(() => controller.abort(new InterruptedError()), 60);
      const waiting = bringUp({ ...context, route }, upRequest(context, { signal: controller.signal }));
      await expect(waiting).rejects.toThrow("interrupted");
    });
  });
});
