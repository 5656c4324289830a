import type { BpfProgram } from "../program.ts";

/** The two places of TC where a program sees packets: before the stack gets them, and before the device sends them. */
export type TcHook = "ingress" | "egress";

/** The ways to attach a program there. */
export type TcBackendName = "bpftool" | "tcx" | "clsact";

/** A program that is attached to a TC hook. */
export interface TcAttachment {
  /** Which list of the kernel holds it. `bpftool` attaches to TCX, too. */
  readonly list: "tcx" | "clsact";
  readonly ifindex: number;
  readonly hook: TcHook;
  readonly progId: number;
  /** TCX: the link that holds it; 0 where it was attached without one. */
  readonly linkId?: number;
  /** clsact: what identifies the filter. */
  readonly filter?: { readonly handle: number; readonly priority: number };
}

/** An interface of the current network namespace. */
export interface Device {
  readonly ifindex: number;
  readonly name: string;
}

/** One way to attach programs to TC hooks. What was attached stays after the process ends. */
export interface TcBackend {
  readonly name: TcBackendName;
  /**
   * Attaches a program behind those that are there.
   *
   * @throws TsbpfError when the kernel refuses it, with its reason.
   */
  attach(program: BpfProgram, device: Device, hook: TcHook): TcAttachment;
  /** Puts a program in the place of another one, with no packet in between that neither sees. */
  replace(old: TcAttachment, program: BpfProgram): TcAttachment;
}
