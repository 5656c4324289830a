/* XDP: Jenkins' hash (the kernel's jhash2) over the 16 words from the network header on; drops by its lowest bits. */
#include "bpf.h"

#define WORDS 16
#define JHASH_INITVAL 0xdeadbeef

extern struct bpf_map hashes; /* array: u32 -> u32 */

static __always_inline __u32 rol32(__u32 word, unsigned int shift)
{
	return word << shift | word >> (32 - shift);
}

#define jhash_mix(a, b, c) \
	do { \
		a -= c;  a ^= rol32(c, 4);  c += b; \
		b -= a;  b ^= rol32(a, 6);  a += c; \
		c -= b;  c ^= rol32(b, 8);  b += a; \
		a -= c;  a ^= rol32(c, 16); c += b; \
		b -= a;  b ^= rol32(a, 19); a += c; \
		c -= b;  c ^= rol32(b, 4);  b += a; \
	} while (0)

#define jhash_final(a, b, c) \
	do { \
		c ^= b; c -= rol32(b, 14); \
		a ^= c; a -= rol32(c, 11); \
		b ^= a; b -= rol32(a, 25); \
		c ^= b; c -= rol32(b, 16); \
		a ^= c; a -= rol32(c, 4); \
		b ^= a; b -= rol32(a, 14); \
		c ^= b; c -= rol32(b, 24); \
	} while (0)

int hash_words(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data;
	void *data_end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = data;
	const __u32 *words = (void *)(eth + 1);
	__u32 a, b, c, key = 0, *hash;

	if ((void *)(words + WORDS) > data_end)
		return XDP_PASS;

	a = b = c = JHASH_INITVAL + (WORDS << 2);
	for (int i = 0; i < WORDS - 1; i += 3) {
		a += words[i];
		b += words[i + 1];
		c += words[i + 2];
		jhash_mix(a, b, c);
	}
	a += words[WORDS - 1];
	jhash_final(a, b, c);

	hash = bpf_map_lookup_elem(&hashes, &key);
	if (hash)
		*hash = c;
	return c & 3 ? XDP_PASS : XDP_DROP;
}
