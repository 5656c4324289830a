import type { Program } from "../../../src/asm/program.ts";
import { array, u32 } from "../../../src/btf/layout/index.ts";
import {
  type HostVal,
  type LangOptions,
  type Var,
  XDP_DROP,
  XDP_PASS,
  type XdpScope,
  xdp,
} from "../../../src/lang/index.ts";
import { ethhdr } from "../../../src/lang/net/index.ts";
import { hashes } from "../maps.ts";

const WORDS = 16;
const JHASH_INITVAL = 0xdeadbeef;

/** XDP: Jenkins' hash (the kernel's jhash2) over the 16 words from the network header on; drops by its lowest bits. */
export function hashWords(options?: LangOptions): Program<"xdp"> {
  return xdp(
    "hash_words",
    ($) => {
      const pass = { else: () => $.return(XDP_PASS) };
      $.packet.skip(ethhdr.size);
      $.packet.peek(array(u32, WORDS), pass);

      const [a, b, c] = [start($), start($), start($)];
      $.for((WORDS - 1) / 3, () => {
        const words = $.packet.take(array(u32, 3), pass);
        a.set(a.add(words.at(0)));
        b.set(b.add(words.at(1)));
        c.set(c.add(words.at(2)));
        mix(a, b, c);
      });
      a.set(a.add($.packet.take(u32, pass)));
      final(a, b, c);

      $.lookup(hashes, 0, (hash) => hash.set(c));
      $.if(c.has(3), pass.else);
      return $.return(XDP_DROP);
    },
    options,
  );
}

function start($: XdpScope): Var<"u32"> {
  return $.let(u32, JHASH_INITVAL + WORDS * 4);
}

function rol32(word: HostVal<"u32">, by: number): HostVal<"u32"> {
  return word.shl(by).or(word.shr(32 - by));
}

function mix(a: Var<"u32">, b: Var<"u32">, c: Var<"u32">): void {
  for (const [x, y, z, by] of [
    [a, b, c, 4],
    [b, c, a, 6],
    [c, a, b, 8],
    [a, b, c, 16],
    [b, c, a, 19],
    [c, a, b, 4],
  ] as const) {
    x.set(x.sub(z).xor(rol32(z, by)));
    z.set(z.add(y));
  }
}

function final(a: Var<"u32">, b: Var<"u32">, c: Var<"u32">): void {
  for (const [x, y, by] of [
    [c, b, 14],
    [a, c, 11],
    [b, a, 25],
    [c, b, 16],
    [a, c, 4],
    [b, a, 14],
    [c, b, 24],
  ] as const) {
    x.set(x.xor(y).sub(rol32(y, by)));
  }
}
