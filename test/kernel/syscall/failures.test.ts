import { mkdtempSync, rmdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { TsbpfError } from "../../../src/base/error.ts";
import { mapCreate, mapElement } from "../../../src/syscall/bpf-map.ts";
import { objGet, objPin } from "../../../src/syscall/bpf-object.ts";
import { setTxChecksumOffload } from "../../../src/syscall/ethtool.ts";
import { Fd, fdLeakTracer } from "../../../src/syscall/fd.ts";
import { linuxSyscalls } from "../../../src/syscall/ffi.ts";
import { MemoryMap } from "../../../src/syscall/memory-map.ts";
import { isBpffs, mountBpffs, unmount } from "../../../src/syscall/mount.ts";
import { netdevXdpFeatures } from "../../../src/syscall/netdev-genl.ts";
import { NetlinkSocket } from "../../../src/syscall/netlink.ts";
import { currentNetnsInode, NetnsRestoreError, openNetns, withNetns } from "../../../src/syscall/netns.ts";
import { linkByName, listLinks } from "../../../src/syscall/rtnetlink.ts";
import { tryLock } from "../../../src/syscall/socket.ts";
import type { Syscalls } from "../../../src/syscall/syscalls.ts";
import { addClsact, deleteClsact, hasClsact } from "../../../src/syscall/tc-netlink.ts";
import { eachFailure } from "../../support/failing-syscalls.ts";
import { createTestNet, type TestNet } from "../../support/netns.ts";
import { describeKernel } from "../../support/privileges.ts";

const EIO = 5;

describeKernel("whichever system call fails, an operation says so and leaves no descriptor", () => {
  const tracer = fdLeakTracer();
  const sys: Syscalls = { ...linuxSyscalls(), fdTracker: tracer };
  let net: TestNet;
  beforeAll(async () => {
    net = await createTestNet();
  });
  afterAll(() => net?.dispose());

  const inNet = <T>(on: Syscalls, fn: () => T extends PromiseLike<unknown> ? never : T): T => {
    using ns = openNetns(on, { name: net.inside.name });
    return withNetns(on, ns, fn);
  };

  const pins = mkdtempSync(join(tmpdir(), "tsbpf-failures-"));
  afterAll(() => {
    if (isBpffs(pins)) unmount(sys, pins, { lazy: true });
    rmdirSync(pins);
  });

  test.each<[string, (on: Syscalls) => void]>([
    [
      "a map and its memory",
      (on) => {
        const spec = { map_type: 2, key_size: 4, value_size: 8, max_entries: 1, map_flags: 1024 };
        using map = Fd.own(on, mapCreate(on, spec), "map");
        using copy = map.dup();
        using memory = MemoryMap.open(on, copy.number, "values", 4096, 3);
        new Uint8Array(memory.buffer)[0] = 7;
        const element = mapElement(on, map, new Uint8Array(4), new Uint8Array(8));
        expect(element.lookup()).toBe(true);
        expect(element.value[0]).toBe(7);
      },
    ],
    [
      "a pin on a fresh bpffs",
      (on) => {
        mountBpffs(on, pins);
        try {
          using map = Fd.own(
            on,
            mapCreate(on, { map_type: 2, key_size: 4, value_size: 8, max_entries: 1 }),
            "map",
          );
          objPin(on, { pathname: join(pins, "m"), bpf_fd: map.number });
          Fd.own(on, objGet(on, { pathname: join(pins, "m") }), "pinned map").close();
        } finally {
          unmount(sys, pins, { lazy: true });
        }
      },
    ],
    [
      "links",
      (on) => {
        using route = inNet<NetlinkSocket>(on, () => NetlinkSocket.route(on));
        expect(linkByName(route, "eth0")).toBeDefined();
        expect(listLinks(route)).toHaveLength(2);
      },
    ],
    [
      "clsact",
      (on) => {
        using route = inNet<NetlinkSocket>(on, () => NetlinkSocket.route(on));
        const { ifindex } = net.inside.links[0] ?? { ifindex: 0 };
        addClsact(route, ifindex);
        expect(hasClsact(route, ifindex)).toBe(true);
        deleteClsact(route, ifindex);
      },
    ],
    [
      "generic netlink",
      (on) => {
        using generic = inNet<NetlinkSocket>(on, () => NetlinkSocket.generic(on));
        netdevXdpFeatures(generic, 1);
      },
    ],
    ["ethtool", (on) => inNet<void>(on, () => setTxChecksumOffload(on, "eth0", false))],
    ["a lock", (on) => tryLock(on, `tsbpf-fail-${process.pid}`)?.close()],
  ])("%s", async (_, run) => {
    const home = currentNetnsInode();
    const tried = await eachFailure({
      sys,
      errno: EIO,
      // The way back from a namespace must not fail here: a test below is about that.
      counted: (name, args) =>
        name !== "close" && name !== "munmap" && !(name === "setns" && isHome(args[0])),
      run,
      check(error) {
        tracer.assertNone();
        expect(currentNetnsInode()).toBe(home);
        // Socket options are best effort, so some failures are no failure of the whole.
        if (error !== undefined) {
          expect(error).toBeInstanceOf(TsbpfError);
          expect((error as Error).message).toMatch(/failed: EIO \(Input\/output error\)/);
        }
      },
    });
    expect(tried).toBeGreaterThan(1);
    tracer.assertNone();

    function isHome(fd: unknown): boolean {
      return tracer
        .leaks()
        .some((leak) => leak.fd.number === fd && leak.fd.what.includes("/proc/thread-self"));
    }
  });

  test("a way back that is barred is said loudly", () => {
    const inside = openNetns(sys, { name: net.inside.name });
    const home = openNetns(sys, { path: "/proc/thread-self/ns/net" });
    try {
      const oneWay: Syscalls = {
        ...sys,
        setns: (fd, type) => (fd === inside.number ? sys.setns(fd, type) : -EIO),
      };
      expect(() => withNetns(oneWay, inside, () => 1)).toThrow(NetnsRestoreError);
      expect(currentNetnsInode()).toBe(net.inside.inode);
    } finally {
      expect(sys.setns(home.number, 0)).toBe(0);
      inside.close();
      home.close();
    }
  });
});
