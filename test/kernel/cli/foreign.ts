/** Programs that are not ours, attached by whoever else is on the machine. */
import { mov32 } from "../../../src/asm/alu.ts";
import { exit } from "../../../src/asm/jump.ts";
import { schedCls, xdp } from "../../../src/asm/program.ts";
import { r0 } from "../../../src/asm/register.ts";
import { BpfProgram } from "../../../src/kernel/program.ts";
import { clsactBackend } from "../../../src/kernel/tc/clsact.ts";
import type { TcHook } from "../../../src/kernel/tc/hook.ts";
import { tcxBackend } from "../../../src/kernel/tc/tcx.ts";
import { attachXdp, type XdpMode } from "../../../src/kernel/xdp.ts";
import { linkCreate } from "../../../src/syscall/bpf-link.ts";
import { Fd } from "../../../src/syscall/fd.ts";
import { linuxSyscalls } from "../../../src/syscall/ffi.ts";
import { BPF_XDP, TC_ACT_UNSPEC, XDP_PASS } from "../../../src/uapi/bpf.ts";
import type { TestNet } from "../../support/netns.ts";
import { inside } from "./harness.ts";

const foreignXdp = xdp("somebody_xdp", { entry: [mov32(r0, XDP_PASS), exit()] });
const foreignTc = schedCls("somebody_tc", { entry: [mov32(r0, TC_ACT_UNSPEC), exit()] });

/** Attaches somebody else's XDP program, over netlink; gives its id. */
export function addForeignXdp(net: TestNet, mode: XdpMode = "native", device = "eth0"): Promise<number> {
  return inside(net, () => {
    using program = BpfProgram.load(foreignXdp);
    return attachXdp(program, device, { mode }).progId;
  });
}

/** Attaches somebody else's XDP program to eth0 by a bpf_link, which it goes with. */
export function addForeignXdpLink(net: TestNet): Promise<{ readonly progId: number } & Disposable> {
  return inside(net, ({ sys }) => {
    using program = BpfProgram.load(foreignXdp);
    const number = linkCreate(sys, { prog_fd: program.fd, target_ifindex: 2, attach_type: BPF_XDP });
    const link = Fd.own(sys, number, "somebody's link");
    return { progId: program.info().id, [Symbol.dispose]: () => link.close() };
  });
}

/** Attaches somebody else's TC program to eth0; gives its id. */
export function addForeignTc(net: TestNet, list: "tcx" | "clsact", hook: TcHook): Promise<number> {
  return inside(net, ({ route }) => {
    using program = BpfProgram.load(foreignTc);
    const backend = list === "tcx" ? tcxBackend(linuxSyscalls()) : clsactBackend(route);
    return backend.attach(program, { ifindex: 2, name: "eth0" }, hook).progId;
  });
}
