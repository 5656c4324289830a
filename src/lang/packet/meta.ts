import type { Layout } from "../../btf/layout/layout.ts";
import { LangError } from "../error.ts";
import type { IrParam } from "../ir/ir.ts";
import type { PacketPointers } from "../program/context.ts";
import { addToPointer, constant, currentBlock, emit, here, type Recorder } from "../recorder.ts";
import type { Region } from "../region.ts";
import { internals, type OrElse } from "../value.ts";
import { guard, makeView } from "../view.ts";
import type { View } from "../view-types.ts";
import { callOrElse } from "./moves.ts";
import type { Packet } from "./packet.ts";

// An XDP program can put bytes of its own in front of a packet, which programs of TC on the same interface find there:
//
//   data_meta            data                                 data_end
//   v                    v                                    v
//   +--------------------+------------------------------------+
//   |      metadata      |               packet               |
//   +--------------------+------------------------------------+

/** The metadata that an XDP program left with a packet, and other XDP programs and TC at ingress see. */
export interface PacketMeta {
  /**
   * The metadata in front of the packet, through the layout that it was written with. `else` runs where there is none, or less.
   *
   * In TC it is there at ingress, on the interface that the XDP program is on.
   *
   * @example
   * ```ts
   * const Meta = struct("meta", { flow: u32 });
   * const use = tc("use", ($) => {
   *   const meta = $.packet.meta(Meta, { else: () => $.return(TC_ACT_UNSPEC) });
   *   $.ctx.mark.set(meta.flow);
   *   return $.return(TC_ACT_UNSPEC);
   * });
   * ```
   */
  meta<L extends Layout>(layout: L, options: OrElse): View<L, "packet">;
}

/** How an XDP program leaves metadata with a packet. */
export interface XdpMeta extends PacketMeta {
  /**
   * Room for metadata in front of the packet, or in front of the metadata that is there. It holds anything: write all of its
   * fields. What was taken from the packet before cannot be used after it.
   *
   * A layout has a multiple of 4 bytes; all metadata together at most 32 before kernel 6.8, 252 since. `else` runs where there
   * is no more room, or where the driver has none for metadata at all.
   *
   * @example
   * ```ts
   * const Meta = struct("meta", { flow: u32 });
   * const note = xdp("note", ($) => {
   *   const meta = $.packet.adjustMeta(Meta, { else: () => $.return(XDP_PASS) });
   *   meta.flow.set($.ctx.rx_queue_index);
   *   return $.return(XDP_PASS);
   * });
   * ```
   */
  adjustMeta<L extends Layout>(layout: L, options: OrElse): View<L, "packet">;
}

/** Makes the metadata of a program, with what writes it and without. */
export function createMeta(
  recorder: Recorder,
  context: IrParam,
  packet: Packet,
  pointers: PacketPointers & { readonly dataMeta: number },
): XdpMeta {
  const meta = <L extends Layout>(layout: L, options: OrElse): View<L, "packet"> => {
    currentBlock(recorder);
    const end = packet[internals].start();
    const base = emit(recorder, {
      kind: "load",
      size: pointers.size,
      signed: false,
      base: context,
      offset: pointers.dataMeta,
      memory: "ctx",
      volatile: false,
      pointer: "packet",
      source: here(),
    });
    const after = addToPointer(recorder, base, constant(layout.size));
    guard(recorder, { kind: "compare", op: "gt", width: 64, a: after, b: end }, options?.else);
    const region: Region = {
      memory: "packet",
      base,
      size: layout.size,
      slot: undefined,
      name: `the ${layout.cName} in front of the packet`,
      writable: pointers.writable,
      scope: recorder.scope,
      epoch: recorder.epoch,
      end: () => packet[internals].start(),
    };
    return makeView<L, "packet">(recorder, region, 0, layout);
  };
  return {
    meta,
    adjustMeta: (layout, options) => {
      checkSize(recorder, layout);
      callOrElse(recorder, context, "bpf_xdp_adjust_meta", "adjustMeta", [-layout.size], options);
      return meta(layout, options);
    },
  };
}

/** `xdp_metalen_invalid()` in include/net/xdp.h. */
function checkSize({ target }: Recorder, { cName, size }: Layout): void {
  if (size % 4 !== 0) {
    throw new LangError(
      `${cName} has ${size} bytes, and the kernel takes metadata of a multiple of 4`,
      here(),
      `Make it ${Math.ceil(size / 4) * 4} bytes, with a field that is not used.`,
    );
  }
  const [major, minor] = target.kernel;
  const max = major > 6 || (major === 6 && minor >= 8) ? 252 : 32;
  if (size <= max) return;
  throw new LangError(
    `${cName} has ${size} bytes, and kernel ${target.kernel.join(".")} takes metadata of at most ${max}`,
    here(),
    size <= 252 && max < 252
      ? 'Make it smaller, or build the program with { kernel: "6.8" }, which takes 252.'
      : "Make it smaller, or put the rest into a map.",
  );
}
