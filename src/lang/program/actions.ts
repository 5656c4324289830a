import * as uapi from "../../uapi/bpf.ts";

declare const verdict: unique symbol;

/** What an XDP program returns: one of the `XDP_*` of this module, which are the kernel's numbers with a type of their own. */
export type XdpAction = number & { readonly [verdict]: "XDP" };

/** What a TC program returns: one of the `TC_ACT_*` of this module. */
export type TcAction = number & { readonly [verdict]: "TC" };

/** A bug in the program: the packet is dropped, and the tracepoint `xdp:xdp_exception` fires. */
export const XDP_ABORTED: XdpAction = uapi.XDP_ABORTED as number as XdpAction;
/** Drop the packet. */
export const XDP_DROP: XdpAction = uapi.XDP_DROP as number as XdpAction;
/** Let the network stack have the packet. */
export const XDP_PASS: XdpAction = uapi.XDP_PASS as number as XdpAction;
/** Send the packet out of the interface that it came from. */
export const XDP_TX: XdpAction = uapi.XDP_TX as number as XdpAction;
/** Send the packet where `bpf_redirect` or `bpf_redirect_map` said. */
export const XDP_REDIRECT: XdpAction = uapi.XDP_REDIRECT as number as XdpAction;

/** Leave the verdict to the program behind this one. */
export const TC_ACT_UNSPEC: TcAction = uapi.TC_ACT_UNSPEC as number as TcAction;
/** Accept the packet, and end the chain of programs. */
export const TC_ACT_OK: TcAction = uapi.TC_ACT_OK as number as TcAction;
/** Drop the packet. */
export const TC_ACT_SHOT: TcAction = uapi.TC_ACT_SHOT as number as TcAction;
/** Go on with the next filter of classic TC. */
export const TC_ACT_PIPE: TcAction = uapi.TC_ACT_PIPE as number as TcAction;
/** Drop the packet, as if it had been stolen: no error is reported to its sender. */
export const TC_ACT_STOLEN: TcAction = uapi.TC_ACT_STOLEN as number as TcAction;
/** Send the packet where `bpf_redirect` said. */
export const TC_ACT_REDIRECT: TcAction = uapi.TC_ACT_REDIRECT as number as TcAction;
