/* XDP: looks into GRE and VXLAN, and drops packets whose inner IPv4 destination is on a list. */
#include "bpf.h"

#define VXLAN_PORT 4789
#define GRE_CSUM 0x8000
#define GRE_KEY 0x2000
#define GRE_SEQ 0x1000

extern struct bpf_map inner_block; /* hash: be32 -> u64 */

int tunnel_inner(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data;
	void *data_end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = data;
	struct iphdr *ip = (void *)(eth + 1);
	struct ethhdr *inner_eth;
	struct iphdr *inner_ip;

	if ((void *)(ip + 1) > data_end)
		return XDP_PASS;
	if (eth->h_proto != bpf_htons(ETH_P_IP) || ip->ihl < 5)
		return XDP_PASS;

	void *l4 = (void *)ip + ip->ihl * 4;
	if (ip->protocol == IPPROTO_GRE) {
		struct gre_base_hdr *gre = l4;

		if ((void *)(gre + 1) > data_end)
			return XDP_PASS;
		void *payload = gre + 1;
		if (gre->flags & bpf_htons(GRE_CSUM))
			payload += 4;
		if (gre->flags & bpf_htons(GRE_KEY))
			payload += 4;
		if (gre->flags & bpf_htons(GRE_SEQ))
			payload += 4;
		if (gre->protocol == bpf_htons(ETH_P_IP)) {
			inner_ip = payload;
		} else if (gre->protocol == bpf_htons(ETH_P_TEB)) {
			inner_eth = payload;
			if ((void *)(inner_eth + 1) > data_end || inner_eth->h_proto != bpf_htons(ETH_P_IP))
				return XDP_PASS;
			inner_ip = (void *)(inner_eth + 1);
		} else {
			return XDP_PASS;
		}
	} else if (ip->protocol == IPPROTO_UDP) {
		struct udphdr *udp = l4;
		struct vxlanhdr *vxlan = (void *)(udp + 1);

		inner_eth = (void *)(vxlan + 1);
		if ((void *)(inner_eth + 1) > data_end)
			return XDP_PASS;
		if (udp->dest != bpf_htons(VXLAN_PORT) || !(vxlan->vx_flags & bpf_htonl(0x08000000)))
			return XDP_PASS;
		if (inner_eth->h_proto != bpf_htons(ETH_P_IP))
			return XDP_PASS;
		inner_ip = (void *)(inner_eth + 1);
	} else {
		return XDP_PASS;
	}

	if ((void *)(inner_ip + 1) > data_end)
		return XDP_PASS;
	__be32 daddr = inner_ip->daddr;
	__u64 *dropped = bpf_map_lookup_elem(&inner_block, &daddr);
	if (!dropped)
		return XDP_PASS;
	__sync_fetch_and_add(dropped, 1);
	return XDP_DROP;
}
