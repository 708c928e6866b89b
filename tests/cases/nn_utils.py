"""Pruning and the orthogonal parametrization, as expressions."""

from . import evaluated, namespace

CASES = r"""
P.l1_unstructured(L(),'weight',-1)
P.l1_unstructured(L(),'weight',1.5)
P.l1_unstructured(L(),'weight',100)
P.l1_unstructured(L(),'weight','a')
P.l1_unstructured(L(),'foo',1)
P.random_structured(L(),'bias',1,0)
P.random_structured(L(),'weight',1,5)
P.ln_structured(L(),'weight',1,3,0).state_dict()
P.ln_structured(L(),'weight',0.5,float('inf'),1).state_dict()
P.ln_structured(L(),'weight',1,-float('inf'),1).state_dict()
P.random_unstructured(L(),'weight',3).state_dict()
P.random_unstructured(L(),'weight',0.2).weight
P.random_structured(L(),'weight',2,1).state_dict()
P.l1_unstructured(L(),'weight',0.3).state_dict()
P.l1_unstructured(L(),'weight',0).state_dict()
P.identity(L(),'weight').state_dict()
P.custom_from_mask(L(),'bias',torch.tensor([0,1,0])).state_dict()
P.custom_from_mask(L(),'bias',torch.tensor([0,1,0])).bias
P.l1_unstructured(L(),'weight',3,importance_scores=torch.arange(12.).view(3,4)).weight
P.l1_unstructured(L(),'weight',3,importance_scores=torch.arange(2.)).weight
P.remove(L(),'weight')
P.is_pruned(L())
P.is_pruned(nn.Sequential(P.identity(L(),'weight')))
P.remove(P.l1_unstructured(L(),'weight',3),'weight').state_dict()
list(dict(P.remove(P.l1_unstructured(L(),'weight',3),'weight').named_parameters()))
P.l1_unstructured(P.random_structured(L(),'weight',1,0),'weight',0.5).weight
P.ln_structured(P.random_structured(L(),'weight',1,1),'weight',0.5,2,0).weight
P.random_structured(P.random_unstructured(L(),'weight',4),'weight',1,0).weight
list(P.l1_unstructured(P.random_structured(L(),'weight',1,0),'weight',0.5)._forward_pre_hooks.values())[0]._tensor_name
len(list(P.l1_unstructured(P.random_structured(L(),'weight',1,0),'weight',0.5)._forward_pre_hooks.values())[0])
type(list(P.l1_unstructured(P.random_structured(L(),'weight',1,0),'weight',0.5)._forward_pre_hooks.values())[0][1]).__name__
P.L1Unstructured(0.5).prune(torch.arange(-3.,4))
P.L1Unstructured(2).prune(torch.arange(-3.,4), default_mask=torch.tensor([0,1,1,1,1,1,0.]))
P.L1Unstructured(2).prune(torch.arange(-3.,4), importance_scores=torch.arange(7.))
P.L1Unstructured.PRUNING_TYPE, P.LnStructured.PRUNING_TYPE, P.Identity.PRUNING_TYPE, P.CustomFromMask.PRUNING_TYPE, P.RandomStructured.PRUNING_TYPE
P.BasePruningMethod()
P.PruningContainer(P.L1Unstructured(1))
P.PruningContainer(3)
P.global_unstructured([(L(),'weight'),(L(),'bias')],pruning_method=P.L1Unstructured,amount=5)
P.global_unstructured([(L(),'weight'),(L(),'bias')],pruning_method=P.LnStructured,amount=5,n=1)
P.global_unstructured((L(),'weight'),pruning_method=P.L1Unstructured,amount=5)
P.global_unstructured(7,pruning_method=P.L1Unstructured,amount=5)
two_pruned(P.L1Unstructured, amount=0.5)
two_pruned(P.RandomUnstructured, amount=5, by_score=True)
P.RandomUnstructured(0.5).apply_mask(L())
P.L1Unstructured.apply(L(),'weight',2)._tensor_name
P.L1Unstructured.apply(L(),'weight',2).amount
P.Identity.apply(L(),'weight').remove(L())
par.orthogonal(L(4,4))
par.orthogonal(L(4,4)).weight
par.orthogonal(L(4,3)).weight
par.orthogonal(L(3,5)).weight
par.orthogonal(L(3,5),orthogonal_map='cayley').weight
par.orthogonal(L(5,3),orthogonal_map='matrix_exp').weight
par.orthogonal(L(5,3),orthogonal_map='householder',use_trivialization=False).weight
par.orthogonal(L(5,3),orthogonal_map='matrix_exp',use_trivialization=False).weight
par.orthogonal(L(3,3),orthogonal_map='cayley',use_trivialization=False).weight
{k:(v.shape,v.abs().sum()) for k,v in par.orthogonal(L(3,5)).state_dict().items()}
{k:(v.shape,v.abs().sum()) for k,v in par.orthogonal(L(4,4)).state_dict().items()}
par.orthogonal(L(),'foo')
par.orthogonal(L(),'bias')
par.orthogonal(L(),orthogonal_map='x')
par.orthogonal(L(4,4).to(torch.complex64),orthogonal_map='householder').weight
par.orthogonal(L(4,4).to(torch.complex64)).weight
assigned(torch.eye(3, 4))
gradient('matrix_exp',4,4)
gradient('cayley',3,5)
gradient('householder',3,5)
gradient('householder',5,3)
gradient('matrix_exp',5,3)
""".strip().splitlines()


def answers(torch):
    names = namespace(torch)
    import importlib

    prune = importlib.import_module(torch.__name__ + ".nn.utils.prune")
    parametrizations = importlib.import_module(torch.__name__ + ".nn.utils.parametrizations")

    def layer(inputs=4, outputs=3):
        torch.manual_seed(0)
        return torch.nn.Linear(inputs, outputs)

    def two_pruned(method, **arguments):
        """The masks of two parameters that were pruned together."""
        a, b = layer(), layer(5, 2)
        if arguments.pop("by_score", False):
            arguments["importance_scores"] = {(a, "weight"): a.weight.abs()}
        prune.global_unstructured([(a, "weight"), (b, "bias")], pruning_method=method, **arguments)
        return a.weight_mask, b.bias_mask

    def assigned(value):
        module = parametrizations.orthogonal(layer(4, 3))
        module.weight = value
        return module.weight

    def gradient(orthogonal_map, inputs, outputs):
        module = parametrizations.orthogonal(layer(inputs, outputs), orthogonal_map=orthogonal_map)
        ramp = torch.arange(float(inputs * outputs)).view(outputs, inputs)
        (module.weight * ramp).sum().backward()
        return module.parametrizations.weight.original.grad

    names |= {"P": prune, "par": parametrizations, "L": layer}
    names |= {"two_pruned": two_pruned, "assigned": assigned, "gradient": gradient}
    for text in CASES:
        yield text, evaluated(lambda text=text: eval(text, names))
