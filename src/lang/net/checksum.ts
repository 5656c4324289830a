import { bytes } from "../../btf/layout/array.ts";
import { LangError } from "../error.ts";
import { helperShapes } from "../generated/helper-shapes.ts";
import { callHelper } from "../helper-call.ts";
import { checksumOfSum, minus, plus, type Sum, summand, sumOf, ZERO } from "../ones-complement.ts";
import type { PacketInternals } from "../packet.ts";
import { here } from "../recorder.ts";
import { makeVal, operandValue } from "../scalar.ts";
import { type HostVal, internals, type Memory, type Takes, type Val, type WireVal } from "../value.ts";
import { addressOf, makeView } from "../view.ts";
import type { AnyView, View } from "../view-types.ts";
import { iphdr } from "./ipv4.ts";

/** What checksums need of a program's builder: any whose programs see packets has it. */
export interface WithPacket {
  readonly packet: {
    /** @internal */
    readonly [internals]: PacketInternals;
  };
}

/**
 * The Internet checksum (RFC 1071) of what lies in memory, one piece behind the other, ready to be stored. Only the last piece
 * may have an odd number of bytes.
 *
 * @example
 * ```ts
 * const Answer = struct("answer", { icmp: icmphdr, data: bytes(56) });
 * const answerPing = xdp("answer_ping", ($) => {
 *   const pass = { else: () => $.return(XDP_PASS) };
 *   $.packet.skip(ethhdr.size + iphdr.size);
 *   const answer = $.packet.take(Answer, pass);
 *   $.assign(answer.icmp, { type: 0, checksum: 0 });
 *   answer.icmp.checksum.set(checksum($, answer));
 *   return $.return(XDP_PASS);
 * });
 * ```
 */
export function checksum($: WithPacket, ...pieces: readonly AnyView[]): Val<"be16"> {
  const { recorder } = $.packet[internals];
  const sum = pieces.reduce((all, piece, index): Sum => {
    const { size } = addressOf(recorder, piece);
    if (size % 2 !== 0 && index < pieces.length - 1) {
      throw new LangError(
        `a piece of ${size} bytes stands in front of another one in a checksum`,
        here(),
        "Checksums add up words of two bytes: only the last piece may have an odd number of bytes.",
      );
    }
    return plus(recorder, all, sumOfView($.packet[internals], piece));
  }, ZERO);
  return makeVal(recorder, "be16", checksumOfSum(recorder, sum, false));
}

/**
 * The checksum of an IPv4 header without options, whatever its field holds, ready to be stored.
 *
 * @example
 * ```ts
 * const build = xdp("build", ($) => {
 *   $.packet.skip(ethhdr.size);
 *   const ip = $.packet.take(iphdr, { else: () => $.return(XDP_PASS) });
 *   $.assign(ip, { version: 4, ihl: 5, ttl: 64 });
 *   ip.check.set(ipv4Checksum($, ip));
 *   return $.return(XDP_PASS);
 * });
 * ```
 */
export function ipv4Checksum($: WithPacket, ip: View<typeof iphdr, Memory>): Val<"be16"> {
  const { recorder } = $.packet[internals];
  const { region, offset } = addressOf(recorder, ip);
  const all = sumOf(recorder, region, offset, iphdr.size);
  const check = sumOf(recorder, region, offset + iphdr.offset.check, 2);
  const { value, max } = minus(recorder, all, check); // what is taken off is part of it
  return makeVal(recorder, "be16", checksumOfSum(recorder, { value, min: 0n, max }, false));
}

/**
 * A checksum after one of the values that it covers has changed (RFC 1624): for protocols that `rewrite` does not know.
 *
 * @param check - the checksum before.
 * @param from - the value before; it begins at an even byte of what is covered.
 * @param to - the value after: one of the same kind, or a constant.
 * @example
 * ```ts
 * const Gre = struct("gre", { base: gre_base_hdr, sum: gre_csum, key: gre_key });
 * const renumber = xdp("renumber", ($) => {
 *   $.packet.skip(ethhdr.size + iphdr.size);
 *   const { sum, key } = $.packet.take(Gre, { else: () => $.return(XDP_PASS) });
 *   sum.csum.set(updatedChecksum($, sum.csum, key.key, 7));
 *   key.key.set(7);
 *   return $.return(XDP_PASS);
 * });
 * ```
 */
export function updatedChecksum<K extends "be16" | "be32", const To>(
  $: WithPacket,
  check: Val<"be16">,
  from: WireVal<K>,
  to: To & Takes<K, To>,
): Val<"be16"> {
  const { recorder } = $.packet[internals];
  const { kind } = from;
  const bits = kind === "be16" ? 16 : 32;
  const summandOf = (value: unknown, of: "be16" | "be32", width: 16 | 32): Sum =>
    summand(operandValue(recorder, of, value), width);
  const difference = minus(recorder, summandOf(to, kind, bits), summandOf(from, kind, bits));
  const sum = minus(recorder, difference, summandOf(check, "be16", 16));
  return makeVal(recorder, "be16", checksumOfSum(recorder, sum, false));
}

/** More bytes than this the kernel adds up faster. */
const INLINE = 64;
/** The helper takes no more at once (before kernel 6.13). */
const MOST = 512;

function sumOfView({ recorder, context }: PacketInternals, view: AnyView): Sum {
  const { region, offset, size } = addressOf(recorder, view);
  if (size <= INLINE) return sumOf(recorder, region, offset, size);
  let sum = ZERO;
  const words = size - (size % 4);
  for (let at = 0; at < words; at += MOST) {
    const length = Math.min(MOST, words - at);
    const part = makeView(recorder, region, offset + at, bytes(length));
    const given = [null, 0, part, length, 0];
    const added = callHelper(recorder, helperShapes.bpf_csum_diff, context, given) as HostVal<"s64">;
    sum = plus(recorder, sum, summand(added[internals].read(), 32));
  }
  return plus(recorder, sum, sumOf(recorder, region, offset + words, size - words));
}
