import type { Layout } from "../../btf/layout/layout.ts";
import type { HostKind, ScalarKind } from "../kind.ts";
import type { Cond, Exit, HostVal, OrElse, Scalar, Takes, Var } from "../value.ts";
import type { View } from "../view-types.ts";

/**
 * What the parsing helpers need of a program's builder: any that sees packets has it. They take headers from where
 * `$.packet` stands, and leave it behind what they took.
 */
export interface PacketParser {
  readonly packet: {
    /** The next bytes, through a layout. */
    take<L extends Layout>(layout: L, options: Otherwise): View<L, "packet">;
    /** The next bytes, through a layout; stays in front of them. */
    peek<L extends Layout>(layout: L, options: Otherwise): View<L, "packet">;
    /** Goes over so many bytes, `max` at the most. */
    skip(bytes: HostVal<HostKind>, options: Otherwise & { readonly max: number }): void;
    /** Goes back to the packet's first byte. */
    rewind(): void;
    /** How many bytes lie between the packet's first byte and this place. */
    offset(): HostVal<"u32">;
  };
  /** A variable. */
  let<K extends ScalarKind, const V>(layout: Scalar<K>, value: V & Takes<K, V>): Var<K>;
  /** A conditional. */
  if(condition: Cond, body: () => unknown): ParserIf;
  /** The same for as often as it says, at the most. */
  for(count: number, body: () => unknown): void;
  /** Leaves the loop. */
  break(): Exit;
}

/** What else, and what at last. */
export interface ParserIf {
  /** Another condition, for where none before it held. */
  elif(condition: Cond, body: () => unknown): ParserIf;
  /** What happens where no condition held. */
  else(body: () => unknown): unknown;
}

/** What happens where a packet is too short, or is not what it says it is. */
export type Otherwise = OrElse;

/**
 * Goes over so many bytes by counting from the packet's beginning anew. To the verifier all places that are reached like this
 * are one; with a skip it would know for each place which headers lie before it, and so follow every sequence of headers that
 * there can be, and everything behind each of them.
 */
export function skipFromStart(
  $: PacketParser,
  bytes: HostVal<"u32"> | number,
  otherwise: Otherwise["else"],
): void {
  const offset = $.packet.offset().add(bytes);
  $.packet.rewind();
  $.packet.skip(offset, { else: otherwise, max: MAX_OFFSET });
}

/** Half of what the verifier lets packet pointers be moved by: some is left for what follows. */
const MAX_OFFSET = 0x7fff;
