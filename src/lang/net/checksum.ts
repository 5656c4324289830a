import { LITTLE_ENDIAN } from "../../base/host.ts";
import { type ArrayLayout, array, bytes } from "../../btf/layout/array.ts";
import { be16, be32, u8, u32, u64 } from "../../btf/layout/scalar.ts";
import { type StructLayout, struct } from "../../btf/layout/struct.ts";
import { callHelper } from "../call/helper-call.ts";
import { LangError } from "../error.ts";
import { helperShapes } from "../generated/helper-shapes.ts";
import { checksumOfSum, minus, plus, type Sum, summand, sumOf, ZERO } from "../packet/ones-complement.ts";
import type { PacketInternals } from "../packet/packet.ts";
import { here } from "../recorder.ts";
import { makeVal, operandValue } from "../scalar.ts";
import {
  type Exit,
  type HostVal,
  internals,
  type Memory,
  type Takes,
  type Val,
  type WireVal,
} from "../value.ts";
import { addressOf, makeView } from "../view.ts";
import type { AnyView, View } from "../view-types.ts";
import { iphdr } from "./ipv4.ts";
import { type Otherwise, type PacketParser, skipFromStart } from "./parser.ts";
import type { Be16, Be32, U8 } from "./wire-types.ts";

/** What checksums need of a program's builder: any whose programs see packets has it. */
export interface WithPacket {
  readonly packet: {
    /** @internal */
    readonly [internals]: PacketInternals;
  };
}

/** Options of {@link checksum}. */
export interface ChecksumOptions {
  /** What follows the pieces in the packet, from where `$.packet` stands. */
  readonly rest?: ChecksumRest;
  /** Whether 0 becomes 0xffff: for UDP, where 0 means that there is none. Default: false. */
  readonly neverZero?: boolean;
}

/** So many bytes of the packet, of which only the program knows how many. `$.packet` goes behind them. */
export interface ChecksumRest extends Otherwise {
  readonly bytes: HostVal<"u8" | "u16" | "u32">;
  /** The most that they may be; `else` runs where they are more, or more than the packet has. */
  readonly max: number;
}

/**
 * What the checksums of TCP, UDP and the like cover in front of their own headers in IPv4, 12 bytes (RFC 793, RFC 768); `length`
 * is that of the header and the data.
 */
export const pseudohdr: StructLayout<
  "pseudohdr",
  { saddr: Be32; daddr: Be32; zero: U8; protocol: U8; length: Be16 }
> = struct("pseudohdr", { saddr: be32, daddr: be32, zero: u8, protocol: u8, length: be16 });

/** The same in IPv6, 40 bytes (RFC 8200). */
export const pseudo6hdr: StructLayout<
  "pseudo6hdr",
  { saddr: ArrayLayout<Be32>; daddr: ArrayLayout<Be32>; length: Be32; nexthdr: Be32 }
> = struct("pseudo6hdr", { saddr: array(be32, 4), daddr: array(be32, 4), length: be32, nexthdr: be32 });

/**
 * The Internet checksum (RFC 1071) of what lies in memory, one piece behind the other, and of the rest of the packet, ready to be
 * stored. Only what comes last may have an odd number of bytes.
 *
 * @example
 * ```ts
 * const addChecksum = xdp("add_checksum", ($) => {
 *   const pass = { else: () => $.return(XDP_PASS) };
 *   $.packet.skip(ethhdr.size);
 *   const ip = $.packet.take(iphdr, pass);
 *   const udp = $.packet.take(udphdr, pass);
 *   $.if(ip.protocol.ne(IPPROTO_UDP).or(ip.ihl.ne(5)).or(udp.check.ne(0)), pass.else);
 *   const pseudo = $.struct(pseudohdr, { saddr: ip.saddr, daddr: ip.daddr, protocol: 17, length: udp.len });
 *   const rest = { bytes: udp.len.toHost().sub(udphdr.size), max: 1472, ...pass };
 *   udp.check.set(checksum($, [pseudo, udp], { rest, neverZero: true }));
 *   return $.return(XDP_PASS);
 * });
 * ```
 */
export function checksum(
  $: WithPacket & PacketParser,
  pieces: readonly AnyView[],
  options: ChecksumOptions = {},
): Val<"be16"> {
  const inside = $.packet[internals];
  const { recorder } = inside;
  const { rest, neverZero = false } = options;
  const sum = pieces.reduce((all, piece, index): Sum => {
    const { size } = addressOf(piece);
    if (size % 2 !== 0 && (index < pieces.length - 1 || rest !== undefined)) {
      throw new LangError(
        `a piece of ${size} bytes stands in front of something else in a checksum`,
        here(),
        "Checksums add up words of two bytes: only what comes last may have an odd number of bytes.",
      );
    }
    return plus(recorder, all, sumOfView(inside, piece));
  }, ZERO);
  const all = rest === undefined ? sum : sumOfRest($, sum, rest);
  return makeVal(recorder, "be16", checksumOfSum(recorder, all, neverZero));
}

/**
 * The checksum of an IPv4 header without options, whatever its field holds, ready to be stored. With options: set the field to
 * 0, and take {@link checksum} of the header and of the rest, `ihl * 4 - 20` bytes.
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
  const { region, offset } = addressOf(ip);
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

/** Bytes of the packet that the helper is given at once where there are many. */
const Chunk = bytes(INLINE);

/** A sum, with so many bytes from where the packet stands added to it. */
function sumOfRest(
  $: WithPacket & PacketParser,
  before: Sum,
  { bytes: count, max, else: otherwise }: ChecksumRest,
): Sum {
  const { recorder, context } = $.packet[internals];
  if (!Number.isInteger(max) || max < 1 || max > 0xffff) {
    throw new LangError(
      "a checksum over the rest of the packet needs { bytes, max, else }",
      here(),
      "The kernel must be able to prove that it ends: say how many bytes it may be at the most, up to 65535.",
    );
  }
  const total = $.let(u64, makeVal(recorder, "u64", before.value));
  const left = $.let(u32, count);
  $.if(left.gt(max), otherwise);
  // In the loops `else` would be one of theirs: what the packet does not have is still left behind them.
  const ended = { else: (): Exit => $.break() };
  if (max >= INLINE) {
    $.for(Math.floor(max / INLINE), () => {
      $.if(left.lt(INLINE), () => $.break());
      const given = [null, 0, $.packet.take(Chunk, ended), INLINE, 0];
      const added = callHelper(recorder, helperShapes.bpf_csum_diff, context, given) as HostVal<"s64">;
      total.set(total.add(added.to(u64)));
      left.set(left.sub(INLINE));
    });
    skipFromStart($, 0, otherwise);
  }
  $.for(INLINE / 4, () => {
    $.if(left.lt(4), () => $.break());
    total.set(total.add($.packet.take(be32, ended).raw()));
    left.set(left.sub(4));
  });
  skipFromStart($, 0, otherwise);
  $.if(left.gt(3), otherwise);
  $.if(left.has(2), () => total.set(total.add($.packet.take(be16, { else: otherwise }).raw())));
  $.if(left.has(1), () => {
    const last = $.packet.take(u8, { else: otherwise });
    total.set(total.add(LITTLE_ENDIAN ? last : last.to(u32).shl(8)));
  });
  skipFromStart($, 0, otherwise);
  const most = before.max + (BigInt(max) / 4n + 3n) * 0xffff_ffffn;
  return { value: total[internals].read(), min: 0n, max: most };
}

function sumOfView({ recorder, context }: PacketInternals, view: AnyView): Sum {
  const { region, offset, size } = addressOf(view);
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
