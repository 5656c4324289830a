import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { mov32 } from "../../src/asm/alu.ts";
import { exit } from "../../src/asm/jump.ts";
import { type ProgramOptions, schedCls, xdp } from "../../src/asm/program.ts";
import { r0 } from "../../src/asm/register.ts";
import { AttachError } from "../../src/kernel/attachment.ts";
import { listAttachments } from "../../src/kernel/link/attachments.ts";
import { BpfProgram } from "../../src/kernel/program.ts";
import { type AttachXdpOptions, attachXdp, detachXdp, type XdpAttachment } from "../../src/kernel/xdp.ts";
import { linkCreate } from "../../src/syscall/bpf-link.ts";
import { Fd } from "../../src/syscall/fd.ts";
import { NetlinkError, NetlinkSocket } from "../../src/syscall/netlink.ts";
import { linkByName, type SetXdp, setXdp, type XdpState } from "../../src/syscall/rtnetlink.ts";
import type { Syscalls } from "../../src/syscall/syscalls.ts";
import { BPF_F_XDP_HAS_FRAGS, BPF_XDP, XDP_DROP, XDP_PASS } from "../../src/uapi/bpf.ts";
import {
  XDP_FLAGS_DRV_MODE,
  XDP_FLAGS_REPLACE,
  XDP_FLAGS_SKB_MODE,
  XDP_FLAGS_UPDATE_IF_NOEXIST,
} from "../../src/uapi/netlink.ts";
import { failure } from "../support/failure.ts";
import { inNetns } from "../support/in-netns.ts";
import { createTestNet, type TestNet } from "../support/netns.ts";
import { describeKernel } from "../support/privileges.ts";
import { tracedSyscalls } from "./syscall/support.ts";

const sys = tracedSyscalls();

function load(name: string, verdict = XDP_PASS, options: ProgramOptions = {}): BpfProgram {
  return BpfProgram.load(xdp(name, { entry: [mov32(r0, verdict), exit()] }, options), { sys });
}

let net: TestNet;
const inside = <T>(fn: () => T): T => inNetns(net.inside.path, fn);

function onRoute<T>(fn: (route: NetlinkSocket) => T): T {
  return inside(() => {
    using route = NetlinkSocket.route(sys);
    return fn(route);
  });
}
const stateOf = (device = "eth0"): XdpState | undefined => onRoute((route) => linkByName(route, device)?.xdp);
const ifindex = (): number => net.inside.links[0]?.ifindex ?? 0;
const set = (request: Omit<SetXdp, "ifindex">): void =>
  onRoute((route) => setXdp(route, { ifindex: ifindex(), ...request }));
const attach = (program: BpfProgram, options: AttachXdpOptions = {}, device = "eth0"): XdpAttachment =>
  inside(() => attachXdp(program, device, { sys, ...options }));

describeKernel("XDP", () => {
  beforeAll(async () => {
    net = await createTestNet();
  });
  afterAll(() => net.dispose());
  beforeEach(async () => {
    for (const mode of ["xdpdrv", "xdpgeneric"]) {
      await net.exec("inside", "ip", ["link", "set", "dev", "eth0", mode, "off"], { allowFailure: true });
    }
  });

  describe("attachXdp", () => {
    test.each([
      ["auto", "native"],
      ["native", "native"],
      ["generic", "generic"],
    ] as const)("%s runs %s", (mode, actual) => {
      using prog = load("prog");
      const link = attach(prog, { mode });
      const { id } = prog.info();
      expect(link).toMatchObject({
        ifindex: ifindex(),
        name: "eth0",
        mode: actual,
        progId: id,
        fallback: undefined,
      });
      expect(stateOf()).toMatchObject({ mode: actual, progId: id });
      const info = { kind: "xdp", id: undefined, progId: id, ifindex: ifindex() };
      expect(inside(() => link.info())).toEqual(info);
      expect(inside(() => listAttachments({ sys })).map((one) => one.info)).toContainEqual(info);
      expect(inside(() => link.detach())).toBe(true);
      expect(inside(() => link.info())).toBeUndefined();
      expect(stateOf()?.mode).toBe("none");
      expect(inside(() => link.detach())).toBe(false);
    });

    test("by index, and it does what it says to packets", async () => {
      using drop = load("drop", XDP_DROP);
      using pass = load("pass");
      const link = inside(() => attachXdp(drop, ifindex(), { sys }));
      expect(await net.ping({ count: 2, timeoutMs: 1_000 })).toMatchObject({ received: 0 });
      inside(() => link.update(pass));
      expect(link.progId).toBe(pass.info().id);
      expect(await net.ping({ count: 2 })).toMatchObject({ received: 2 });
      inside(() => link.detach());
    });

    test("`using` detaches, though the program is closed by then", () => {
      const prog = load("prog");
      inside(() => {
        using link = attachXdp(prog, "eth0", { sys });
        prog.close();
        expect(stateOf()?.progId).toBe(link.progId);
      });
      expect(stateOf()?.mode).toBe("none");
    });

    test("outlives its fd", () => {
      const prog = load("prog");
      const { id } = prog.info();
      attach(prog);
      prog.close();
      expect(stateOf()?.progId).toBe(id);
      expect(inside(() => detachXdp(ifindex(), id, { sys }))).toBe(true);
      expect(inside(() => detachXdp(ifindex(), id, { sys }))).toBe(false);
    });

    test("auto falls back to generic where the driver has no XDP, and says why", () => {
      using prog = load("prog");
      const link = attach(prog, {}, "lo");
      expect(link).toMatchObject({
        mode: "generic",
        fallback: "Underlying driver does not support XDP in native mode",
      });
      expect(stateOf("lo")).toMatchObject({ mode: "generic" });
      expect(inside(() => link.detach())).toBe(true);
    });
  });

  describe("replace and update", () => {
    test("in one step, by the program that is there", () => {
      using first = load("first");
      using second = load("second");
      attach(first);
      const link = attach(second, { replace: first });
      expect(stateOf()?.progId).toBe(second.info().id);
      inside(() => link.detach());
    });

    test("update, also when the old program was closed", () => {
      const first = load("first");
      using second = load("second");
      using third = load("third");
      const link = attach(first);
      first.close();
      inside(() => link.update(second));
      inside(() => link.update(third));
      expect(stateOf()?.progId).toBe(third.info().id);
      expect(link.progId).toBe(third.info().id);
      expect(inside(() => link.detach())).toBe(true);
    });

    test("update where somebody else's program is by now: refused, and theirs stays", () => {
      using ours = load("ours");
      using theirs = load("theirs");
      using next = load("next");
      const link = attach(ours);
      set({ fd: theirs.fd, flags: XDP_FLAGS_DRV_MODE });
      const error = failure(() => inside(() => link.update(next)));
      expect(error).toBeInstanceOf(AttachError);
      expect(error).toMatchObject({ code: "EEXIST", extack: "Active program does not match expected" });
      expect(error.message).toBe(
        "cannot update XDP of eth0: Active program does not match expected\n" +
          `  RTM_SETLINK failed: EEXIST (File exists): Active program does not match expected [ifindex=${ifindex()}, fd=${next.fd}, xdp_flags=0x14, expected_fd=${ours.fd}]\n` +
          "  Another XDP program is on eth0 (ip link show eth0): detach it, or ask to replace it.",
      );
      expect(inside(() => link.detach())).toBe(false);
      expect(stateOf()?.progId).toBe(theirs.info().id);
    });

    test("update where nothing is any more", () => {
      const ours = load("ours");
      using next = load("next");
      const link = attach(ours);
      inside(() => link.detach());
      ours.close();
      // Freed in the background: until then the kernel itself says that it does not match.
      expect(failure(() => inside(() => link.update(next))).message).toMatch(
        /^cannot update XDP of eth0: (it is not attached any more|Active program does not match expected)/,
      );
      expect(stateOf()?.mode).toBe("none");
    });
  });

  describe("another network namespace", () => {
    test("update and detach refuse to touch an interface that happens to have the same index", () => {
      using prog = load("prog");
      const link = attach(prog);
      for (const act of [() => link.detach(), () => link.update(prog), () => link[Symbol.dispose]()]) {
        expect(failure(() => inNetns(net.outside.path, act)).message).toBe(
          `the XDP program is attached in another network namespace (net:[${net.inside.inode}])\n` +
            "  Enter the one that it was attached in (withNetns), and do it there.",
        );
      }
      expect(inside(() => link.detach())).toBe(true);
    });
  });

  describe("refusals, and what to do", () => {
    test("another program is there: never replaced without being asked", () => {
      using theirs = load("theirs");
      using ours = load("ours");
      attach(theirs, { mode: "native" });
      for (const mode of ["native", "auto"] as const) {
        expect(failure(() => attach(ours, { mode }))).toMatchObject({
          name: "AttachError",
          device: "eth0",
          code: "EBUSY",
          extack: "XDP program already attached",
          hint: "Another XDP program is on eth0 (ip link show eth0): detach it, or ask to replace it.",
        });
      }
      expect(stateOf()?.progId).toBe(theirs.info().id);
    });

    test("one in the other mode", () => {
      using theirs = load("theirs");
      using ours = load("ours");
      attach(theirs, { mode: "native" });
      expect(failure(() => attach(ours, { mode: "generic" }))).toMatchObject({
        code: "EEXIST",
        extack: "Native and generic XDP can't be active at the same time",
        hint: "The program on eth0 runs in the other mode: detach it first, or replace it in its own mode.",
      });
      expect(failure(() => attach(ours, { mode: "generic", replace: theirs }))).toMatchObject({
        extack: "Active program does not match expected",
        hint: "The program to replace runs in native mode, and one in another mode cannot take its place in one step.",
      });
    });

    test("auto replaces a generic program in generic mode", () => {
      using first = load("first");
      using second = load("second");
      attach(first, { mode: "generic" });
      expect(failure(() => attach(second))).toMatchObject({
        extack: "Native and generic XDP can't be active at the same time",
      });
      const link = attach(second, { replace: first });
      expect(link).toMatchObject({ mode: "generic", fallback: undefined });
      expect(stateOf()).toMatchObject({ mode: "generic", progId: second.info().id });
    });

    test("not the program that is to be replaced", () => {
      using theirs = load("theirs");
      using ours = load("ours");
      using expected = load("expected");
      attach(theirs);
      expect(failure(() => attach(ours, { mode: "native", replace: expected }))).toMatchObject({
        code: "EEXIST",
        extack: "Active program does not match expected",
        hint: "Another XDP program is on eth0 (ip link show eth0): detach it, or ask to replace it.",
      });
    });

    test("a driver without native XDP", () => {
      using prog = load("prog");
      expect(failure(() => attach(prog, { mode: "native" }, "lo")).message).toBe(
        "cannot attach XDP to lo: Underlying driver does not support XDP in native mode\n" +
          `  RTM_SETLINK failed: EOPNOTSUPP (Operation not supported): Underlying driver does not support XDP in native mode [ifindex=1, fd=${prog.fd}, xdp_flags=0x5]\n` +
          "  The driver of lo has no native XDP: use generic mode.",
      );
    });

    test("an MTU that is too large, unless the program takes fragments", async () => {
      await using large = await createTestNet({ mtu: 3600 });
      using prog = load("prog");
      using frags = load("frags", XDP_PASS, { flags: BPF_F_XDP_HAS_FRAGS });
      inNetns(large.inside.path, () => {
        expect(failure(() => attachXdp(prog, "eth0", { sys, mode: "native" }))).toMatchObject({
          code: "ERANGE",
          extack: "veth: Peer MTU is too large to set XDP",
          hint: "Packets may not fit one buffer: lower its peer's MTU, or load the program with BPF_F_XDP_HAS_FRAGS.",
        });
        using link = attachXdp(frags, "eth0", { sys, mode: "native" });
        expect(link.mode).toBe("native");
      });
    });

    test("a program for the entries of a map", () => {
      using prog = load("prog", XDP_PASS, { attachType: "xdp_cpumap" });
      const error = failure(() => attach(prog, { mode: "native" }));
      expect(error).toMatchObject({ code: "EINVAL" });
      expect(error.hint).toBe(
        "A program with the attach type xdp_cpumap or xdp_devmap is for the entries of such a map.",
      );
    });

    test("a program that is none for XDP", () => {
      using prog = BpfProgram.load(schedCls("tc", { entry: [mov32(r0, 0), exit()] }), { sys });
      expect(failure(() => attach(prog, { mode: "native" }))).toMatchObject({ code: "EINVAL" });
      expect(stateOf()?.mode).toBe("none");
    });

    test("no such interface", () => {
      using prog = load("prog");
      expect(failure(() => attach(prog, {}, "eth9")).message).toBe(
        "no interface 'eth9'\n  `ip link` shows those of this network namespace.",
      );
      expect(failure(() => inside(() => attachXdp(prog, 999_999, { sys }))).message).toMatch(
        /^no interface with index 999999\n/,
      );
    });

    test("a bpf_link holds it", () => {
      using linked = load("linked");
      using ours = load("ours");
      const fd = inside(() =>
        linkCreate(sys, {
          prog_fd: linked.fd,
          target_ifindex: ifindex(),
          attach_type: BPF_XDP,
          flags: XDP_FLAGS_DRV_MODE,
        }),
      );
      using link = Fd.own(sys, fd, "link");
      expect(link.closed).toBe(false);
      for (const options of [{}, { replace: linked }]) {
        expect(failure(() => attach(ours, { mode: "native", ...options }))).toMatchObject({
          code: "EBUSY",
          extack: "Can't replace active BPF XDP link",
          hint: "A bpf_link holds XDP of eth0 (bpftool link show): only its owner can replace or detach it.",
        });
      }
      expect(failure(() => inside(() => detachXdp(ifindex(), linked.info().id, { sys })))).toMatchObject({
        code: "EBUSY",
      });
    });
  });

  test("a kernel before 5.7, which does not know how to replace", () => {
    // A flag that no kernel knows, in place of XDP_FLAGS_REPLACE: EINVAL without a word, as there.
    const old: Syscalls = {
      ...sys,
      sendto: (fd, data, flags, address) => sys.sendto(fd, withoutReplace(data), flags, address),
    };
    using first = load("first");
    using second = load("second");
    inside(() => {
      const link = attachXdp(first, "eth0", { sys: old });
      link.update(second);
      expect(stateOf()?.progId).toBe(second.info().id);
      expect(link.detach()).toBe(true);
      expect(stateOf()?.mode).toBe("none");
    });
  });

  // What the functions above are built against: the kernel's own behaviour, request by request.
  describe("the kernel", () => {
    test("no flags over an existing program: silently replaced", () => {
      using first = load("first");
      using second = load("second");
      set({ fd: first.fd, flags: 0 });
      set({ fd: second.fd, flags: 0 });
      expect(stateOf()?.progId).toBe(second.info().id);
    });

    test.each([
      ["UPDATE_IF_NOEXIST", XDP_FLAGS_UPDATE_IF_NOEXIST, undefined, "EBUSY", "XDP program already attached"],
      [
        "generic while native is active",
        XDP_FLAGS_SKB_MODE,
        undefined,
        "EEXIST",
        "Native and generic XDP can't be active at the same time",
      ],
      ["REPLACE with expected fd -1", 0, -1, "EEXIST", "Active program does not match expected"],
    ] as const)("%s over an existing one", (_, flags, expectedFd, code, extack) => {
      using first = load("first");
      using second = load("second");
      set({ fd: first.fd, flags: XDP_FLAGS_DRV_MODE });
      const error = failure(() => set({ fd: second.fd, flags, expectedFd }));
      expect(error).toBeInstanceOf(NetlinkError);
      expect(error).toMatchObject({ code, extack });
      expect(stateOf()?.progId).toBe(first.info().id);
    });

    test("REPLACE with expected fd -1 over nothing: attached", () => {
      using first = load("first");
      set({ fd: first.fd, flags: XDP_FLAGS_DRV_MODE, expectedFd: -1 });
      expect(stateOf()?.progId).toBe(first.info().id);
    });

    test("detach with the wrong mode flag: success, and nothing happens", () => {
      using first = load("first");
      set({ fd: first.fd, flags: XDP_FLAGS_DRV_MODE });
      set({ fd: -1, flags: XDP_FLAGS_SKB_MODE });
      expect(stateOf()?.progId).toBe(first.info().id);
    });

    test("no mode flag on a device without native XDP: generic", () => {
      using first = load("first");
      onRoute((route) => {
        setXdp(route, { ifindex: 1, fd: first.fd, flags: 0 });
        expect(linkByName(route, "lo")?.xdp.mode).toBe("generic");
        setXdp(route, { ifindex: 1, fd: -1, flags: 0 });
        expect(linkByName(route, "lo")?.xdp.mode).toBe("none");
      });
    });

    test("a link over a program of netlink: EBUSY", () => {
      using first = load("first");
      using linked = load("linked");
      set({ fd: first.fd, flags: XDP_FLAGS_DRV_MODE });
      const create = () =>
        linkCreate(sys, { prog_fd: linked.fd, target_ifindex: ifindex(), attach_type: BPF_XDP });
      expect(failure(() => inside(create))).toMatchObject({ code: "EBUSY" });
    });
  });
});

/** The same request with a meaningless flag in place of XDP_FLAGS_REPLACE: of IFLA_XDP_FLAGS, in host order. */
function withoutReplace(message: Uint8Array): Uint8Array {
  const copy = message.slice();
  const view = new DataView(copy.buffer);
  const little = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1;
  for (let at = 32; at + 8 <= copy.length; at += 4) {
    const isFlags = view.getUint16(at, little) === 8 && view.getUint16(at + 2, little) === 3;
    if (!isFlags) continue;
    const flags = view.getUint32(at + 4, little);
    if (flags & XDP_FLAGS_REPLACE) view.setUint32(at + 4, (flags & ~XDP_FLAGS_REPLACE) | 0x80, little);
  }
  return copy;
}
