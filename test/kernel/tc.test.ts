import { execFileSync } from "node:child_process";
import { mkdirSync, rmSync } from "node:fs";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { add, mov, mov32 } from "../../src/asm/alu.ts";
import { aadd64 } from "../../src/asm/atomic.ts";
import { call } from "../../src/asm/call.ts";
import { exit, jeq } from "../../src/asm/jump.ts";
import { lddw, mapFd, stw } from "../../src/asm/load-store.ts";
import { mapDef } from "../../src/asm/map-def.ts";
import { schedCls, xdp } from "../../src/asm/program.ts";
import { r0, r1, r2, r10 } from "../../src/asm/register.ts";
import { u32, u64 } from "../../src/btf/layout/index.ts";
import { AttachError } from "../../src/kernel/attachment.ts";
import { listAttachments } from "../../src/kernel/link/attachments.ts";
import { BpfMap } from "../../src/kernel/map.ts";
import { BpfProgram } from "../../src/kernel/program.ts";
import { attachTc } from "../../src/kernel/tc/attach.ts";
import { bpftoolBackend, findBpftool } from "../../src/kernel/tc/bpftool.ts";
import { chooseTcBackend } from "../../src/kernel/tc/choose.ts";
import { clsactBackend, deleteClsactIfEmpty } from "../../src/kernel/tc/clsact.ts";
import type { TcAttachment, TcBackend, TcBackendName, TcHook } from "../../src/kernel/tc/hook.ts";
import { detachTc, listTc } from "../../src/kernel/tc/list.ts";
import { kernelHasTcx, listTcx, tcxBackend } from "../../src/kernel/tc/tcx.ts";
import { linkCreate } from "../../src/syscall/bpf-link.ts";
import { Fd } from "../../src/syscall/fd.ts";
import { NetlinkSocket } from "../../src/syscall/netlink.ts";
import type { Syscalls } from "../../src/syscall/syscalls.ts";
import { hasClsact, replaceBpfFilter } from "../../src/syscall/tc-netlink.ts";
import {
  BPF_PROG_QUERY,
  BPF_TCX_INGRESS,
  TC_ACT_OK,
  TC_ACT_SHOT,
  TC_ACT_UNSPEC,
  XDP_PASS,
} from "../../src/uapi/bpf.ts";
import { EINVAL } from "../../src/uapi/errno.ts";
import { bpf_map_lookup_elem } from "../../src/uapi/helpers.ts";
import { failure } from "../support/failure.ts";
import { inNetns } from "../support/in-netns.ts";
import { ensureBpffs } from "../support/mounts.ts";
import { createTestNet, type TestNet } from "../support/netns.ts";
import { describeKernel } from "../support/privileges.ts";
import { tracedSyscalls } from "./syscall/support.ts";

const sys = tracedSyscalls();
const bpftool = findBpftool();
const hasBpftool = bpftool.tcx;
if (!hasBpftool) process.stderr.write("the tests of the bpftool backend are skipped: no bpftool >= 7.5\n");
const pins = `${ensureBpffs()}/tsbpf-test-tc-${process.pid}`;
const pinPath = (name: string): string => `${pins}/${name}`;

const BACKENDS: readonly TcBackendName[] = hasBpftool ? ["bpftool", "tcx", "clsact"] : ["tcx", "clsact"];

let net: TestNet;
const inside = <T>(fn: () => T): T => inNetns(net.inside.path, fn);

function onRoute<T>(fn: (route: NetlinkSocket) => T): T {
  return inside(() => {
    using route = NetlinkSocket.route(sys);
    return fn(route);
  });
}

const device = (): { ifindex: number; name: string } => ({
  ifindex: net.inside.links[0]?.ifindex ?? 0,
  name: "eth0",
});
const list = (): readonly TcAttachment[] => onRoute((route) => listTc(sys, route, device().ifindex));
const ids = (hook: TcHook): readonly number[] =>
  list()
    .filter((attachment) => attachment.hook === hook)
    .map(({ progId }) => progId);
const detach = (attachment: TcAttachment): boolean => onRoute((route) => detachTc(sys, route, attachment));

/** Loads a program that returns a verdict, pinned for bpftool. */
function load(name: string, verdict: number = TC_ACT_UNSPEC): BpfProgram {
  const prog = BpfProgram.load(schedCls(name, { entry: [mov32(r0, verdict), exit()] }), { sys });
  rmSync(pinPath(name), { force: true });
  prog.pin(pinPath(name));
  return prog;
}

/** Runs with a backend inside the namespace. */
function withBackend<T>(name: TcBackendName, fn: (backend: TcBackend) => T): T {
  return onRoute((route) => fn(chooseTcBackend(name, { sys, route, pinPath }).backend));
}
const attach = (name: TcBackendName, prog: BpfProgram, hook: TcHook): TcAttachment =>
  withBackend(name, (backend) => backend.attach(prog, device(), hook));

describeKernel("TC", () => {
  beforeAll(async () => {
    mkdirSync(pins, { recursive: true });
    net = await createTestNet();
  });
  afterAll(() => {
    net.dispose();
    rmSync(pins, { recursive: true, force: true });
  });
  afterEach(async () => {
    for (const attachment of list()) detach(attachment);
    await net.exec("inside", "tc", ["qdisc", "del", "dev", "eth0", "clsact"], { allowFailure: true });
  });

  describe.each(BACKENDS)("%s", (name) => {
    test.each(["ingress", "egress"] as const)("attach, replace and detach on %s", async (hook) => {
      using drop = load("drop", TC_ACT_SHOT);
      using next = load("next", TC_ACT_UNSPEC);
      const attached = attach(name, drop, hook);
      expect(attached).toMatchObject({
        list: name === "clsact" ? "clsact" : "tcx",
        ifindex: device().ifindex,
        hook,
        progId: drop.info().id,
      });
      expect(list()).toEqual([attached]);
      expect(await net.ping({ count: 2, timeoutMs: 1_000 })).toMatchObject({ received: 0 });
      const replaced = withBackend(name, (backend) => backend.replace(attached, next));
      expect(replaced).toEqual({ ...attached, progId: next.info().id });
      expect(list()).toEqual([replaced]);
      expect(await net.ping({ count: 2 })).toMatchObject({ received: 2 });
      expect(detach(attached)).toBe(false); // it is not there any more, and the other one stays
      expect(ids(hook)).toEqual([next.info().id]);
      expect(detach(replaced)).toBe(true);
      expect(detach(replaced)).toBe(false);
      expect(list()).toEqual([]);
    });

    test("beside somebody else's program, which stays", () => {
      using theirs = load("theirs");
      using ours = load("ours");
      const other = attach(name, theirs, "ingress");
      const own = attach(name, ours, "ingress");
      expect(new Set(ids("ingress"))).toEqual(new Set([theirs.info().id, ours.info().id]));
      expect(detach(own)).toBe(true);
      expect(list()).toEqual([other]);
    });

    test("outlives the program's descriptor and its pin", () => {
      const prog = load("short_lived");
      const { id } = prog.info();
      attach(name, prog, "egress");
      prog.close();
      rmSync(pinPath("short_lived"));
      expect(ids("egress")).toEqual([id]);
    });

    test("replace where it is gone: an error, and nothing is attached", () => {
      using first = load("first");
      using second = load("second");
      const attached = attach(name, first, "ingress");
      detach(attached);
      const error = failure(() => withBackend(name, (backend) => backend.replace(attached, second)));
      expect(error).toBeInstanceOf(AttachError);
      expect(error.message).toMatch(/^cannot put 'second' in the place of .* interface \d+: /);
      expect(list()).toEqual([]);
    });

    test("the interface is gone: detach says no, and the list is empty", () => {
      using prog = load("prog");
      const attachment = { ...attach(name, prog, "ingress"), ifindex: 4242 };
      expect(detach(attachment)).toBe(false);
      expect(onRoute((route) => listTc(sys, route, 4242))).toEqual([]);
    });
  });

  describe("attachTc", () => {
    test.each(BACKENDS)("%s: update and detach", (backend) => {
      const first = load("first");
      using second = load("second");
      const options = { sys, backend, pinPath };
      const attached = inside(() => attachTc(first, "eth0", "egress", options));
      expect(attached).toMatchObject({
        name: "eth0",
        ifindex: device().ifindex,
        hook: "egress",
        progId: first.info().id,
        backend: { name: backend, reason: "as asked" },
      });
      first.close();
      inside(() => attached.update(second));
      expect(attached.progId).toBe(second.info().id);
      expect(list()).toEqual([attached.entry]);
      expect(failure(() => inNetns(net.outside.path, () => attached.detach())).message).toMatch(
        /^the TC egress program is attached in another network namespace/,
      );
      const info = inside(() => attached.info());
      expect(info).toMatchObject({
        kind: attached.entry.list,
        progId: attached.progId,
        ifindex: device().ifindex,
      });
      expect(inside(() => listAttachments({ sys })).map((one) => one.info)).toContainEqual(info);
      expect(inside(() => attached.detach())).toBe(true);
      expect(inside(() => attached.info())).toBeUndefined();
      expect(inside(() => attached.detach())).toBe(false);
      expect(onRoute((route) => hasClsact(route, device().ifindex))).toBe(false);
    });

    test("`using` detaches, and takes a clsact with it only if it made it and nobody uses it", async () => {
      using prog = load("prog");
      using other = load("other");
      const has = (): boolean => onRoute((route) => hasClsact(route, device().ifindex));
      const once = (): void =>
        inside(() => {
          using link = attachTc(prog, "eth0", "ingress", { sys, backend: "clsact" });
          expect(link.progId).toBe(prog.info().id);
        });
      once();
      expect(has()).toBe(false);
      await net.exec("inside", "tc", ["qdisc", "add", "dev", "eth0", "clsact"]);
      once();
      expect(has()).toBe(true);
      await net.exec("inside", "tc", ["qdisc", "del", "dev", "eth0", "clsact"]);
      inside(() => {
        const link = attachTc(prog, "eth0", "ingress", { sys, backend: "clsact" });
        attachTc(other, "eth0", "egress", { sys, backend: "clsact" });
        link.detach();
      });
      expect(has()).toBe(true);
      expect(ids("egress")).toEqual([other.info().id]);
    });

    test("no such interface", () => {
      using prog = load("prog");
      expect(failure(() => inside(() => attachTc(prog, "eth9", "ingress", { sys }))).message).toMatch(
        /^no interface 'eth9'/,
      );
    });
  });

  describe("order", () => {
    const counts = mapDef({ name: "counts", type: "array", key: u32, value: u64, maxEntries: 4 });
    let map: BpfMap<"array", number, bigint>;
    beforeEach(() => {
      map = BpfMap.create(counts, { sys });
    });
    afterEach(() => map.close());

    /** Counts in a slot of the map, and returns a verdict. */
    function counter(slot: number, verdict: number): BpfProgram {
      const program = schedCls(`count${slot}`, {
        entry: [
          stw([r10, -4], slot),
          lddw(r1, mapFd(counts)),
          mov(r2, r10),
          add(r2, -4),
          call(bpf_map_lookup_elem),
          jeq(r0, 0, "out"),
          mov32(r1, 1),
          aadd64([r0, 0], r1),
        ],
        out: [mov32(r0, verdict), exit()],
      });
      return BpfProgram.load(program, { sys, maps: [map] });
    }

    test("TCX in the order of attaching, then cls_bpf; UNSPEC goes on, OK ends it", async () => {
      using first = counter(0, TC_ACT_UNSPEC);
      using second = counter(1, TC_ACT_UNSPEC);
      using third = counter(2, TC_ACT_OK);
      using last = counter(3, TC_ACT_UNSPEC);
      // Attached in another order than they run in.
      attach("clsact", third, "ingress");
      attach("clsact", last, "egress");
      attach("tcx", first, "ingress");
      attach("tcx", second, "ingress");
      expect(list().map(({ hook, list, progId }) => [hook, list, progId])).toEqual([
        ["ingress", "tcx", first.info().id],
        ["ingress", "tcx", second.info().id],
        ["ingress", "clsact", third.info().id],
        ["egress", "clsact", last.info().id],
      ]);
      await net.ping({ count: 5 });
      expect([...map.entries()].map(([, count]) => count)).toEqual([5n, 5n, 5n, 5n]);
      // OK from TCX: cls_bpf does not see the packets any more.
      using ok = counter(1, TC_ACT_OK);
      inside(() => tcxBackend(sys).replace(list()[1] as TcAttachment, ok));
      await net.ping({ count: 3 });
      expect([...map.entries()].map(([, count]) => count)).toEqual([8n, 8n, 5n, 8n]);
    });
  });

  describe("refusals, and what to do", () => {
    test("the same program twice on TCX", () => {
      using prog = load("twice");
      attach("tcx", prog, "ingress");
      expect(failure(() => attach("tcx", prog, "ingress")).message).toBe(
        "cannot attach 'twice' to tcx_ingress of eth0: EEXIST\n" +
          "  bpf(BPF_PROG_ATTACH) failed: EEXIST (File exists) " +
          `[target_ifindex=${device().ifindex}, attach_bpf_fd=${prog.fd}, attach_type=TCX_INGRESS]\n` +
          "  This very program is there already: a list holds each program once.",
      );
      expect(ids("ingress")).toHaveLength(1);
    });

    test("more than 63 on TCX", () => {
      const programs = Array.from({ length: 64 }, (_, index) =>
        BpfProgram.load(schedCls(`p${index}`, { entry: [mov32(r0, TC_ACT_UNSPEC), exit()] }), { sys }),
      );
      try {
        const [last, ...fits] = programs as [BpfProgram, ...BpfProgram[]];
        for (const prog of fits) attach("tcx", prog, "egress");
        expect(failure(() => attach("tcx", last, "egress"))).toMatchObject({
          code: "ERANGE",
          hint: "The list is full: it holds 63 programs.",
        });
        expect(list()).toHaveLength(63);
      } finally {
        for (const prog of programs) prog.close();
      }
    });

    test.each(["tcx", "clsact"] as const)("%s: no such interface", (name) => {
      using prog = load("prog");
      const error = failure(() =>
        withBackend(name, (backend) => backend.attach(prog, { ifindex: 4242, name: "gone" }, "ingress")),
      );
      expect(error).toMatchObject({
        code: "ENODEV",
        device: "gone",
        hint: "The current network namespace has no such interface.",
      });
    });

    test.each(["tcx", "clsact"] as const)("%s: an XDP program", (name) => {
      using prog = BpfProgram.load(xdp("wrong", { entry: [mov32(r0, XDP_PASS), exit()] }), { sys });
      const error = failure(() => attach(name, prog, "ingress"));
      expect(error).toMatchObject({ code: "EINVAL" });
      expect(error.hint).toMatch(/sched_cls/);
      expect(list()).toEqual([]);
      expect(onRoute((route) => hasClsact(route, device().ifindex))).toBe(false);
    });

    test("a bpf_link on TCX can be seen, and not replaced by others", () => {
      using linked = load("linked");
      using ours = load("ours");
      const fd = inside(() =>
        linkCreate(sys, {
          prog_fd: linked.fd,
          target_ifindex: device().ifindex,
          attach_type: BPF_TCX_INGRESS,
        }),
      );
      using _link = Fd.own(sys, fd, "link");
      const [entry] = list();
      expect(entry).toMatchObject({ list: "tcx", progId: linked.info().id });
      expect(entry?.linkId).toBeGreaterThan(0);
      expect(failure(() => inside(() => tcxBackend(sys).replace(entry as TcAttachment, ours)))).toMatchObject(
        {
          code: "EBUSY",
          hint: "A bpf_link holds the program to replace (bpftool link show): only its owner can.",
        },
      );
      expect(failure(() => detach(entry as TcAttachment))).toMatchObject({ code: "EBUSY" });
    });

    test("an ingress qdisc in the place of clsact", async () => {
      using prog = load("prog");
      await net.exec("inside", "tc", ["qdisc", "add", "dev", "eth0", "ingress"]);
      const error = failure(() => attach("clsact", prog, "egress"));
      await net.exec("inside", "tc", ["qdisc", "del", "dev", "eth0", "ingress"]);
      expect(error).toMatchObject({
        code: "EEXIST",
        extack: "Exclusivity flag on, cannot modify",
        hint: "An `ingress` qdisc is in the place of clsact (tc qdisc show): replace it, or attach to TCX.",
      });
    });
  });

  describe("clsact", () => {
    test("somebody else's qdisc is used, and is not deleted while anything is on it", async () => {
      using prog = load("prog");
      using theirs = load("theirs");
      await net.exec("inside", "tc", ["qdisc", "add", "dev", "eth0", "clsact"]);
      attach("clsact", theirs, "egress");
      const attached = attach("clsact", prog, "ingress");
      expect(detach(attached)).toBe(true);
      expect(onRoute((route) => deleteClsactIfEmpty(route, device().ifindex))).toBe(false);
      expect(ids("egress")).toEqual([theirs.info().id]);
      await net.exec("inside", "tc", ["filter", "del", "dev", "eth0", "egress"]);
      expect(onRoute((route) => deleteClsactIfEmpty(route, device().ifindex))).toBe(true);
      expect(onRoute((route) => deleteClsactIfEmpty(route, device().ifindex))).toBe(false);
    });

    test("a filter that holds somebody else's program by now is left alone", () => {
      using ours = load("ours");
      using theirs = load("theirs");
      const attached = attach("clsact", ours, "ingress");
      const { priority: prio = 0, handle = 0 } = attached.filter ?? {};
      onRoute((route) =>
        replaceBpfFilter(
          route,
          { ifindex: device().ifindex, direction: "ingress", prio, handle },
          { progFd: theirs.fd, name: "theirs" },
        ),
      );
      expect(detach(attached)).toBe(false);
      expect(failure(() => onRoute((route) => clsactBackend(route).replace(attached, ours))).message).toMatch(
        /: it is not attached any more$/,
      );
      expect(ids("ingress")).toEqual([theirs.info().id]);
    });
  });

  describe.skipIf(!hasBpftool)("bpftool", () => {
    test("its list is ours", async () => {
      using ingress = load("ingress_prog");
      using egress = load("egress_prog");
      attach("bpftool", ingress, "ingress");
      attach("tcx", egress, "egress");
      const { stdout } = await net.exec("inside", "bpftool", ["--json", "net", "show", "dev", "eth0"]);
      const [shown] = JSON.parse(stdout) as [{ tc: { kind: string; name: string; prog_id: number }[] }];
      expect(shown.tc.map(({ kind, name, prog_id }) => [kind, name, prog_id])).toEqual([
        ["tcx/ingress", "ingress_prog", ingress.info().id],
        ["tcx/egress", "egress_prog", egress.info().id],
      ]);
    });

    test("why we detach by system call: `bpftool net detach` names no program, and takes another one", async () => {
      using theirs = load("theirs");
      using ours = load("ours");
      attach("bpftool", ours, "ingress");
      attach("tcx", theirs, "ingress");
      await net.exec("inside", "bpftool", ["net", "detach", "tcx_ingress", "dev", "eth0"]);
      expect(ids("ingress")).toEqual([ours.info().id]); // it took the last one, which was theirs
    });

    test("what it says when it fails is in the error", () => {
      using prog = load("not_pinned");
      rmSync(pinPath("not_pinned"));
      const error = failure(() => attach("bpftool", prog, "ingress"));
      expect(error.message).toContain("bpftool could not attach 'not_pinned' to tcx_ingress\n");
      expect(error.message).toContain(
        `${bpftool.command} net attach tcx_ingress pinned ${pinPath("not_pinned")} dev eth0\n`,
      );
      expect(error.message).toMatch(/No such file or directory/);
    });
  });

  describe("choice", () => {
    const choose = (wanted: TcBackendName | "auto", needs: { sys?: Syscalls; pins?: boolean } = {}) =>
      onRoute((route) => {
        const { backend, reason } = chooseTcBackend(wanted, {
          sys: needs.sys ?? sys,
          route,
          pinPath: needs.pins === false ? undefined : pinPath,
        });
        return [backend.name, reason];
      });
    const withoutTcx: Syscalls = {
      ...sys,
      bpf: (cmd, attr) => (cmd === BPF_PROG_QUERY ? -EINVAL : sys.bpf(cmd, attr)),
    };

    test("what was asked for", () => {
      expect(choose("tcx")).toEqual(["tcx", "as asked"]);
      expect(choose("clsact")).toEqual(["clsact", "as asked"]);
    });

    test("auto takes bpftool, if there is one that can", () => {
      expect(choose("auto")).toEqual(
        hasBpftool
          ? ["bpftool", `bpftool ${bpftool.version} attaches to TCX`]
          : ["tcx", expect.stringMatching(/this kernel has TCX$/)],
      );
    });

    test("auto takes the system call where nothing can be pinned", () => {
      const lacking = hasBpftool ? "there is no bpffs for bpftool's pins; " : "";
      expect(choose("auto", { pins: false })).toEqual(["tcx", expect.stringContaining(lacking)]);
    });

    test("auto takes clsact on a kernel without TCX", () => {
      expect(kernelHasTcx(sys)).toBe(true);
      expect(kernelHasTcx(withoutTcx)).toBe(false);
      expect(choose("auto", { sys: withoutTcx })).toEqual(["clsact", "this kernel has no TCX (before 6.6)"]);
      expect(listTcx(withoutTcx, 1, "ingress")).toEqual([]);
    });

    test("bpftool without a bpffs, without bpftool, and with an old one", () => {
      expect(failure(() => choose("bpftool", { pins: false })).message).toBe(
        "bpftool attaches pinned programs, and there is no bpffs to pin to\n" +
          "  Mount one (mount -t bpf bpffs /sys/fs/bpf), or attach without bpftool: --tc tcx.",
      );
      const none = findBpftool("/nonexistent/bpftool");
      expect(none).toEqual({ command: "/nonexistent/bpftool", version: undefined, tcx: false });
      expect(failure(() => bpftoolBackend(sys, pinPath, none)).message).toMatch(
        /^bpftool was not found\n {2}Install/,
      );
      const old = { command: "bpftool", version: "7.1.0", tcx: false };
      expect(failure(() => bpftoolBackend(sys, pinPath, old)).message).toMatch(
        /^bpftool 7\.1\.0 cannot attach to TCX\n/,
      );
    });

    test("a command that is no bpftool has no version", () => {
      expect(findBpftool("/bin/true")).toEqual({ command: "/bin/true", version: undefined, tcx: false });
      if (hasBpftool) expect(execFileSync(bpftool.command, ["version"], { encoding: "utf8" })).toContain("v");
    });
  });
});
