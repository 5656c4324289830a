import type { ProgTypeName } from "../asm/program.ts";
import type { Field } from "../btf/layout/field.ts";
import type { Layout } from "../btf/layout/layout.ts";
import type { IrParam } from "./ir/ir.ts";
import { emit, here, type Recorder } from "./recorder.ts";
import { internals, type Nullable } from "./value.ts";

/** What the socket of a program's context is to the verifier, by program type. */
export interface SocketsOf {
  socket_filter: "sock_common";
  sched_cls: "sock_common";
  sched_act: "sock_common";
  cgroup_skb: "sock_common";
  cgroup_sock_addr: "bpf_sock";
  sk_lookup: "bpf_sock";
  sk_skb: "sock_common";
  sk_msg: "bpf_sock";
  sock_ops: "bpf_sock";
  sk_reuseport: "bpf_sock";
}

const TAGS: Readonly<Partial<Record<ProgTypeName, string>>> = {
  socket_filter: "sock_common",
  sched_cls: "sock_common",
  sched_act: "sock_common",
  cgroup_skb: "sock_common",
  cgroup_sock_addr: "bpf_sock",
  sk_lookup: "bpf_sock",
  sk_skb: "sock_common",
  sk_msg: "bpf_sock",
  sock_ops: "bpf_sock",
  sk_reuseport: "bpf_sock",
} satisfies SocketsOf;

/** The socket of a program's context. */
export interface ContextSocket<Tag extends string> {
  /**
   * The context's socket, for `$.ifPresent`: that of a packet (in TC at ingress there mostly is none), the one that connects, or the
   * one that has been chosen so far. `$.bpf_sk_fullsock` gives all of it, `$.bpf_sk_storage_get` what the program keeps with it.
   *
   * @example
   * ```ts
   * const fromPort = tc("from_port", ($) => {
   *   $.ifPresent($.socket(), (sk) => {
   *     $.ifPresent($.bpf_sk_fullsock(sk), (full) => $.ctx.mark.set($.view(full, sockContext).src_port));
   *   });
   *   return $.return(TC_ACT_UNSPEC);
   * });
   * ```
   */
  socket(): Nullable<Tag>;
}

/** Makes the `$.socket` of a program; `undefined` for types whose context has none. */
export function createSocket(
  recorder: Recorder,
  type: ProgTypeName,
  layout: Layout,
  context: IrParam,
): ContextSocket<string> | undefined {
  const nullable = TAGS[type];
  const field = (layout as Layout & { readonly fields?: Readonly<Record<string, Field>> }).fields?.["sk"];
  if (nullable === undefined || field === undefined) return undefined;
  return {
    socket: () => {
      const value = emit(recorder, {
        kind: "load",
        size: 8,
        signed: false,
        base: context,
        offset: field.offset,
        memory: "ctx",
        volatile: false,
        pointer: "memory",
        source: here(),
      });
      return { nullable, [internals]: { value, scope: recorder.scope } };
    },
  };
}
