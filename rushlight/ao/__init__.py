"""Where PyTorch keeps quantisation of models. Of it, only the stubs in models that may be quantised are here."""
