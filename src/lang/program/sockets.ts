import type { Program } from "../../asm/program.ts";
import { skbContext } from "./context.ts";
import { build, type LangOptions, type MustExit, type ScopeOf } from "./program.ts";
import { cgroupDeviceContext, skMsgContext, skReuseportContext, sockOpsContext } from "./socket-context.ts";

// The programs at sockets: those that accompany connections, and those of maps of sockets; and the policy for devices.

/** What a program that accompanies TCP connections is given. */
export type SockOpsScope = ScopeOf<"sock_ops", typeof sockOpsContext, 0 | 1>;
/** What a program that sees what sockets send is given. */
export type SkMsgScope = ScopeOf<"sk_msg", typeof skMsgContext, 0 | 1>;
/** What a program that sees what sockets receive is given. */
export type SkSkbScope = ScopeOf<"sk_skb", typeof skbContext, number>;
/** What a program that chooses among sockets of one address is given. */
export type SkReuseportScope = ScopeOf<"sk_reuseport", typeof skReuseportContext, 0 | 1>;
/** What a cgroup's policy for devices is given. */
export type CgroupDeviceScope = ScopeOf<"cgroup_device", typeof cgroupDeviceContext, 0 | 1>;

/**
 * A program that is called when something happens to a TCP connection of a cgroup's processes: `$.ctx.op` says what, one of
 * `BPF_SOCK_OPS_*`. It puts sockets into maps (`$.bpf_sock_map_update`), sets options, or answers in `$.ctx.args.at(0)`.
 *
 * @throws LangError for what cannot be built, naming the line of TypeScript.
 * @example
 * ```ts
 * const sockets = mapDef({ name: "sockets", type: "sockmap", key: u32, value: u32, maxEntries: 4 });
 * const collect = sockOps("collect", ($) => {
 *   const key = $.struct(u32, 0);
 *   $.if($.ctx.op.eq(BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB), () => {
 *     $.bpf_sock_map_update(sockets, key, BPF_ANY);
 *   });
 *   return $.return(1);
 * });
 * ```
 */
export function sockOps<B>(
  name: string,
  body: ($: SockOpsScope) => B & MustExit<B>,
  options?: LangOptions,
): Program<"sock_ops"> {
  return build("sock_ops", name, sockOpsContext, body, { attachType: "cgroup_sock_ops", ...options });
}

/**
 * Sees what the sockets of a map send: 1 lets it go on, to where `$.bpf_msg_redirect_map` says if it is called; 0 drops it.
 *
 * @throws LangError for what cannot be built, naming the line of TypeScript.
 * @example
 * ```ts
 * const short = skMsg("short", ($) => {
 *   $.if($.ctx.size.gt(1000), () => $.return(0));
 *   return $.return(1);
 * });
 * ```
 */
export function skMsg<B>(
  name: string,
  body: ($: SkMsgScope) => B & MustExit<B>,
  options?: LangOptions,
): Program<"sk_msg"> {
  return build("sk_msg", name, skMsgContext, body, { attachType: "sk_msg_verdict", ...options });
}

/**
 * Sees what the sockets of a map receive. A verdict is 1 to let it go on, to where `$.bpf_sk_redirect_map` says if it is called, or 0
 * to drop it; a `sk_skb_stream_parser` gives the length of the next message.
 *
 * @throws LangError for what cannot be built, naming the line of TypeScript.
 * @example
 * ```ts
 * const sockets = mapDef({ name: "sockets", type: "sockmap", key: u32, value: u32, maxEntries: 4 });
 * const forward = skSkb("forward", "sk_skb_verdict", ($) => $.return($.bpf_sk_redirect_map(sockets, 1, 0)));
 * ```
 */
export function skSkb<B>(
  name: string,
  attachType: "sk_skb_verdict" | "sk_skb_stream_verdict" | "sk_skb_stream_parser",
  body: ($: SkSkbScope) => B & MustExit<B>,
  options?: LangOptions,
): Program<"sk_skb"> {
  return build("sk_skb", name, skbContext, body, { ...options, attachType });
}

/**
 * Chooses which of the sockets that share an address (SO_REUSEPORT) gets a connection or datagram, with
 * `$.bpf_sk_select_reuseport`; without it the kernel does. 1 lets it through, 0 drops it. Kernel 4.19.
 *
 * @throws LangError for what cannot be built, naming the line of TypeScript.
 * @example
 * ```ts
 * const workers = mapDef({ name: "workers", type: "reuseport_sockarray", key: u32, value: u64, maxEntries: 4 });
 * const byHash = skReuseport("by_hash", ($) => {
 *   const worker = $.struct(u32, $.ctx.hash.mod(4));
 *   $.bpf_sk_select_reuseport(workers, worker, 0);
 *   return $.return(1);
 * });
 * ```
 */
export function skReuseport<B>(
  name: string,
  body: ($: SkReuseportScope) => B & MustExit<B>,
  options?: LangOptions,
): Program<"sk_reuseport"> {
  return build("sk_reuseport", name, skReuseportContext, body, {
    attachType: "sk_reuseport_select",
    ...options,
  });
}

/**
 * A policy for the devices that a cgroup's processes open or make. 1 allows, 0 refuses with EPERM.
 *
 * @throws LangError for what cannot be built, naming the line of TypeScript.
 * @example
 * ```ts
 * const noRandom = cgroupDevice("no_random", ($) => {
 *   $.if($.ctx.major.eq(1).and($.ctx.minor.eq(8)), () => $.return(0)); // /dev/random
 *   return $.return(1);
 * });
 * ```
 */
export function cgroupDevice<B>(
  name: string,
  body: ($: CgroupDeviceScope) => B & MustExit<B>,
  options?: LangOptions,
): Program<"cgroup_device"> {
  return build("cgroup_device", name, cgroupDeviceContext, body, { attachType: "cgroup_device", ...options });
}
