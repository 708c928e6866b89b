"""flex_attention, BlockMask, causal biases and the choice of backends, as expressions."""

from . import evaluated, namespace

CASES = r"""
repr(bmh)
str(bmh)
bm.to_dense(), bmh.to_dense()
bm.kv_num_blocks, bm.kv_indices, bm.full_kv_num_blocks, bm.full_kv_indices, bm.q_num_blocks, bm.q_indices, bm.full_q_num_blocks, bm.full_q_indices
bmh.kv_num_blocks, bmh.full_kv_num_blocks, bmh.q_num_blocks
bm.sparsity(), bmh.sparsity(), bmh.numel(), bmh.shape, bmh.seq_lengths, bmh.BLOCK_SIZE
bmh[0].shape, bmh[1,2].shape, bmh[:,0:1].to_dense().sum(), bmh[0].kv_num_blocks
bmh.to('cpu').shape
bm._adjust(130,150).shape
bm._adjust(130,150).to_dense()
FL.create_block_mask(lambda b,h,q,k:q>=k,1,1,300,200,device='cpu',separate_full_blocks=False).full_kv_num_blocks
FL.flex_attention(q,k4,v4)
FL.flex_attention(q,k4,v4,score_mod=alibi).sum()
FL.flex_attention(q,k4,v4,block_mask=small).sum()
FL.flex_attention(q,k4,v4,block_mask=emp).sum()
FL.flex_attention(q,k4,v4,block_mask=emp,return_lse=True)[1].sum()
FL.flex_attention(q,k4,v4,scale=0.3,score_mod=alibi,return_lse=True)[1].sum()
FL.flex_attention(q,k4,v4,scale=0.3,score_mod=alibi,return_aux=FL.AuxRequest())[1]
FL.flex_attention(q,k,v,enable_gqa=True).sum()
FL.flex_attention(q,k,v)
FL.flex_attention(q[0],k[0],v[0])
FL.flex_attention(q,k4,v4,block_mask=bm)
FL.flex_attention(q,k4,v4.double())
FL.flex_attention(q.bfloat16(),k4.bfloat16(),v4.bfloat16()).sum()
FL.flex_attention(q,k4[:,:,:5],v4)
FL.flex_attention(q,k4[...,:5],v4)
FL.flex_attention(q,k4,v4,return_lse=True,return_aux=FL.AuxRequest(lse=True))
FL.create_mask(lambda b,h,q,k:q>=k,1,None,3,3,device='cpu')
FL.create_mask(lambda s,b,h,q,k:torch.where(q>=k,s,-float('inf')),1,2,3,3,device='cpu').shape
FL.and_masks(lambda b,h,q,k:q>=k, lambda b,h,q,k:q-k<2)(torch.tensor(0),torch.tensor(0),torch.arange(4)[:,None],torch.arange(4))
FL.or_masks(lambda b,h,q,k:q>=k, lambda b,h,q,k:q-k<-2)(torch.tensor(0),torch.tensor(0),torch.arange(4)[:,None],torch.arange(4))
FL.or_masks(3)
FL.noop_mask(torch.tensor(0),torch.tensor(0),torch.tensor(0),torch.tensor(0))
FL.create_block_mask(3,1,1,4,4,device='cpu')
FL.create_block_mask(lambda b:b,1,1,4,4,device='cpu')
FL.BlockMask.from_kv_blocks(torch.ones(2),torch.ones(2))
FL.BlockMask.from_kv_blocks(torch.ones(1,1,2,dtype=torch.int32),torch.zeros(1,1,2,2,dtype=torch.int32),full_kv_num_blocks=torch.ones(1,1,2))
FL.BlockMask.from_kv_blocks(torch.ones(1,1,2,dtype=torch.int32),torch.zeros(1,1,2,2,dtype=torch.int32)).shape
FL.BlockMask.from_kv_blocks(torch.ones(1,1,2,dtype=torch.int32),torch.zeros(1,1,2,2,dtype=torch.int32),compute_q_blocks=False).q_indices
bm == 3
repr(B.causal_upper_left(2,3))
repr(B.causal_lower_right(2,3))
repr(B.causal_lower_right(4,3))
F.scaled_dot_product_attention(q,k4,v4,B.causal_lower_right(10,12)).sum()
F.scaled_dot_product_attention(q,k4,v4,B.causal_upper_left(10,12)).sum()
F.scaled_dot_product_attention(q,k4,v4,B.causal_upper_left(10,12),is_causal=True).sum()
B.CausalBias(3,2,2)
repr(A.SDPBackend.MATH), list(A.SDPBackend.__members__), int(A.SDPBackend.CUDNN_ATTENTION)
with_backend(A.SDPBackend.FLASH_ATTENTION)
with_backend([A.SDPBackend.MATH, A.SDPBackend.EFFICIENT_ATTENTION])
A.sdpa_kernel([]).__enter__()
A.sdpa_kernel('x').__enter__()
A.sdpa_kernel([A.SDPBackend.MATH,3]).__enter__()
A.WARN_FOR_UNFUSED_KERNELS
torch.backends.cuda.math_sdp_enabled(), torch.backends.cuda.flash_sdp_enabled(), torch.backends.cuda.mem_efficient_sdp_enabled(), torch.backends.cuda.cudnn_sdp_enabled()
""".strip().splitlines()


def answers(torch):
    import importlib

    attention = importlib.import_module(torch.__name__ + ".nn.attention")
    flex = importlib.import_module(torch.__name__ + ".nn.attention.flex_attention")
    biases = importlib.import_module(torch.__name__ + ".nn.attention.bias")
    torch.manual_seed(0)
    q, k, v = torch.randn(2, 4, 10, 8), torch.randn(2, 2, 12, 8), torch.randn(2, 2, 12, 6)
    causal = flex.create_block_mask(lambda b, h, q, k: q >= k, 1, 1, 300, 200, device="cpu")
    per_head = flex.create_block_mask(
        lambda b, h, q, k: (q >= k + h) & (b < 1), 2, 3, 10, 12, device="cpu", BLOCK_SIZE=(4, 3)
    )
    small = flex.create_block_mask(lambda b, h, q, k: q >= k, None, None, 10, 12, device="cpu", BLOCK_SIZE=4)
    nothing = flex.create_block_mask(lambda b, h, q, k: q < 0, None, None, 10, 12, device="cpu", BLOCK_SIZE=4)

    def alibi(score, b, h, q, k):
        return score + (q - k) * 0.1 * (h + 1)

    def with_backend(backend):
        cuda = torch.backends.cuda
        with attention.sdpa_kernel(backend):
            inside = cuda.math_sdp_enabled(), cuda.flash_sdp_enabled(), cuda.mem_efficient_sdp_enabled()
        return inside, cuda.math_sdp_enabled()

    names = namespace(torch) | {
        "A": attention,
        "FL": flex,
        "B": biases,
        "q": q,
        "k": k,
        "v": v,
        "bm": causal,
        "bmh": per_head,
    }
    names |= {
        "k4": k.repeat_interleave(2, 1),
        "v4": v.repeat_interleave(2, 1),
        "small": small,
        "emp": nothing,
    }
    names |= {"alibi": alibi, "with_backend": with_backend}
    for text in CASES:
        yield text, evaluated(lambda text=text: eval(text, names))
