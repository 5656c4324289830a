import type { Layout } from "../../btf/layout/layout.ts";
import { LangError } from "../error.ts";
import type { IrParam } from "../ir/ir.ts";
import { here, type Recorder } from "../recorder.ts";
import type { Addressable, Operand, OrElse } from "../value.ts";
import { addressOf, makeView, stackRegion } from "../view.ts";
import type { View } from "../view-types.ts";
import { callOrElse } from "./moves.ts";

/** How a program reads bytes of a packet wherever they are. */
export interface PacketLoad {
  /**
   * A copy, in the stack frame, of what lies so many bytes behind the packet's first byte. It works for bytes that cannot be
   * read directly, too: of packets in several pieces, and at places that the verifier cannot follow. A copy stays good when the
   * packet moves; to write into it changes nothing in the packet. `else` runs where the packet ends before.
   *
   * In XDP: kernel 5.18.
   *
   * @example
   * ```ts
   * const onlyUdp = socketFilter("only_udp", ($) => {
   *   const ip = $.packet.load(0, iphdr, { else: () => $.return(0) });
   *   $.if(ip.protocol.ne(IPPROTO_UDP), () => $.return(0));
   *   return $.return($.ctx.len);
   * });
   * ```
   */
  load<L extends Layout>(offset: Operand<"u32">, layout: L, options: OrElse): View<L, "stack">;
}

/** How a program writes bytes of a packet wherever they are. */
export interface PacketStore {
  /**
   * Writes a struct, an array or a field, from the stack, a map's value or a record, so many bytes behind the packet's first
   * byte. `else` runs where the packet ends before. In TC what was taken before cannot be used after it.
   *
   * In XDP: kernel 5.18.
   *
   * @example
   * ```ts
   * const renumber = tc("renumber", ($) => {
   *   const next = { else: () => $.return(TC_ACT_UNSPEC) };
   *   const eth = $.packet.load(0, ethhdr, next);
   *   eth.h_source.at(5).set(7);
   *   $.packet.store(0, eth, next);
   *   return $.return(TC_ACT_UNSPEC);
   * });
   * ```
   */
  store(offset: Operand<"u32">, from: Addressable, options: OrElse): void;
}

/** The same for socket buffers. */
export interface SkbStore extends PacketStore {
  store(offset: Operand<"u32">, from: Addressable, options: SkbStoreOptions): void;
}

/** Options of {@link SkbStore.store}. */
export interface SkbStoreOptions extends OrElse {
  /** `BPF_F_RECOMPUTE_CSUM`, `BPF_F_INVALIDATE_HASH`. Default: 0. */
  readonly flags?: number;
}

/** Makes the load of a program; `xdp` says which helper does it. */
export function createLoad(recorder: Recorder, context: IrParam, xdp: boolean): PacketLoad {
  return {
    load: <L extends Layout>(offset: Operand<"u32">, layout: L, options: OrElse): View<L, "stack"> => {
      if (xdp) checkKernel(recorder, "load");
      const region = stackRegion(recorder, layout, { scratch: false, name: layout.cName });
      const view = makeView<L, "stack">(recorder, region, 0, layout);
      const helper = xdp ? "bpf_xdp_load_bytes" : "bpf_skb_load_bytes";
      callOrElse(recorder, context, helper, "load", [offset, view, layout.size], options);
      return view;
    },
  };
}

/** Makes the store of a program. */
export function createStore(recorder: Recorder, context: IrParam, xdp: boolean): SkbStore {
  return {
    store: (offset, from, options) => {
      const { region, size } = addressOf(from);
      if (!STORABLE.has(region.memory)) {
        throw new LangError(
          `$.packet.store takes bytes from the stack, a map's value or a record, and gets ${region.name}`,
          here(),
          "Copy it first: $.struct(layout, view).",
        );
      }
      if (xdp) {
        checkKernel(recorder, "store");
        callOrElse(recorder, context, "bpf_xdp_store_bytes", "store", [offset, from, size], options);
      } else {
        const given = [offset, from, size, options?.flags ?? 0];
        callOrElse(recorder, context, "bpf_skb_store_bytes", "store", given, options);
      }
    },
  };
}

/** What the kernel takes as a source: `ARG_PTR_TO_MEM`, without packets. */
const STORABLE: ReadonlySet<string> = new Set(["stack", "map_value", "record"]);

function checkKernel({ target }: Recorder, method: "load" | "store"): void {
  const [major, minor] = target.kernel;
  if (major > 5 || minor >= 18) return;
  throw new LangError(
    `$.packet.${method} is there in XDP from kernel 5.18 on, and this program is for ${target.kernel.join(".")}`,
    here(),
    'Use $.packet.take, or build the program with { kernel: "5.18" }.',
  );
}
