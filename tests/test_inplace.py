"""In-place writes under differentiation: what is refused, version counters, histories of views and bases, and the error that names
the saving and the changing line."""

import pytest

import rushlight as torch

LEAF = "a leaf Variable that requires grad is being used in an in-place operation."
LEAF_VIEW = "a view of a leaf Variable that requires grad is being used in an in-place operation."


def leaf(*values):
    return torch.tensor(list(values), dtype=torch.float64, requires_grad=True)


def name(t):
    return type(t.grad_fn).__name__


class TestVersions:
    @pytest.mark.parametrize(
        "write",
        [
            lambda x: x.add_(1),
            lambda x: x.__setitem__(0, 1),
            lambda x: x.zero_(),
            lambda x: x.view(-1).add_(1),
            lambda x: x.detach().add_(1),
            lambda x: x.copy_(torch.ones(4)),
            lambda x: x.__iadd__(1),
            lambda x: torch.add(x, 1, out=x),
            lambda x: x[1:3].mul_(2),
        ],
    )
    def test_counted_once(self, write):
        x = torch.zeros(4)
        write(x)
        assert x._version == 1

    def test_counted_without_grad_mode(self):
        x = torch.zeros(4)
        with torch.no_grad():
            x.add_(1)
        assert x._version == 1

    @pytest.mark.parametrize(
        "other", [lambda x: x.data.add_(1), lambda x: x.clone().add_(1), lambda x: x + 1, lambda x: x.requires_grad_()]
    )
    def test_not_counted(self, other):
        x = torch.zeros(4)
        other(x)
        assert x._version == 0

    def test_assigning_data_keeps_the_counter(self):
        x = torch.zeros(4)
        x.add_(1)
        y = torch.ones(3)
        y.add_(1).add_(1)
        x.data = y
        assert x._version == 1 and x.tolist() == [3, 3, 3]
        x.add_(1)
        assert x._version == 2 and y._version == 2 and y.tolist() == [4, 4, 4]

    def test_read_only(self):
        with pytest.raises(AttributeError):
            torch.zeros(1)._version = 3


class TestRefused:
    @pytest.mark.parametrize("write", [lambda x: x.add_(1), lambda x: x.mul_(x), lambda x: x.zero_(), lambda x: x.copy_(x * 2)])
    def test_leaf(self, write):
        x = leaf(1.0, 2.0)
        with pytest.raises(RuntimeError) as error:
            write(x)
        assert str(error.value) == LEAF
        assert x.tolist() == [1, 2] and x._version == 0

    @pytest.mark.parametrize("write", [lambda x: x[0].fill_(1), lambda x: x.view(2).mul_(2), lambda x: x.__setitem__(0, 5.0)])
    def test_view_of_leaf(self, write):
        x = leaf(1.0, 2.0)
        with pytest.raises(RuntimeError) as error:
            write(x)
        assert str(error.value) in (LEAF_VIEW, LEAF)
        assert x.tolist() == [1, 2]

    def test_leaf_without_grad_mode(self):
        x = leaf(1.0, 2.0)
        with torch.no_grad():
            x += 1
            x[0] = 5
        assert x.tolist() == [5, 3] and x.is_leaf and x.requires_grad

    def test_outputs_of_multi_view_functions(self):
        x = leaf(1.0, 2.0) * 1
        a, b = x.unbind()
        with pytest.raises(RuntimeError, match="Output 0 of Unbind is a view and is being modified inplace. This view is the output"):
            a.add_(1)
        y = leaf(1.0, 2.0) * 1
        a, b = y.unbind()
        y.mul_(2)
        with pytest.raises(RuntimeError, match="Output 0 of Unbind is a view and its base or another view of its base"):
            a * 2

    def test_views_made_without_grad_mode(self):
        x = leaf(1.0, 2.0)
        with torch.no_grad():
            v = x.view(2)
        assert v.requires_grad and v._base is x and v.is_leaf
        with pytest.raises(RuntimeError, match="A view was created in no_grad mode and is being modified inplace with grad mode"):
            v.mul_(2)
        y = leaf(1.0, 2.0) * 1
        with torch.no_grad():
            w = y[0:1]
        y.mul_(2)
        with pytest.raises(RuntimeError, match="A view was created in no_grad mode and its base or another view"):
            w.grad_fn

    def test_inference_tensors(self):
        with torch.inference_mode():
            x = torch.ones(2)
            x.add_(1)
        with pytest.raises(RuntimeError, match="Inplace update to inference tensor outside InferenceMode is not allowed"):
            x.add_(1)
        with pytest.raises(RuntimeError, match="Inference tensors do not track version counter"):
            x._version
        with pytest.raises(RuntimeError, match="Inference tensors cannot be saved for backward"):
            x * leaf(1.0, 2.0)

    def test_detach_of_views_in_place(self):
        v = leaf(1.0, 2.0)[0:1]
        with pytest.raises(RuntimeError, match="Can't detach views in-place. Use detach"):
            v.detach_()


class TestModifiedSavedTensor:
    def test_saved_output(self):
        x = leaf(1.0, 2.0)
        y = x.exp()
        y.add_(1)
        with pytest.raises(RuntimeError) as error:
            y.sum().backward()
        assert str(error.value).splitlines()[0] == (
            "one of the variables needed for gradient computation has been modified by an inplace operation: "
            "[torch.DoubleTensor [2]], which is output 0 of Exp, is at version 1; expected version 0 instead. Hint: enable "
            "anomaly detection to find the operation that failed to compute its gradient, with "
            "torch.autograd.set_detect_anomaly(True, check_nan=False)."
        )

    def test_saved_input(self):
        x = leaf(1.0, 2.0)
        y = x * 2
        z = y**2
        y.add_(1)
        with pytest.raises(RuntimeError, match="which is output 0 of Add, is at version 1; expected version 0 instead"):
            z.sum().backward()

    def test_saved_leaf(self):
        w, x = leaf(1.0, 2.0), torch.ones(2, dtype=torch.float64)
        y = w * x
        x.add_(1)
        with pytest.raises(RuntimeError, match=r"\[torch.DoubleTensor \[2\]\] is at version 1; expected version 0 instead"):
            y.sum().backward()

    def test_saved_output_of_an_in_place_call(self):
        y = leaf(1.0, 2.0) * 1
        y.exp_()
        y.add_(1)
        with pytest.raises(RuntimeError, match="output 0 of Exp, is at version 2; expected version 1"):
            y.sum().backward()

    def test_message_names_both_lines(self):
        x = leaf(1.0, 2.0)
        y = x.sigmoid()  # the saving line
        y.mul_(2)  # the changing line
        y.add_(3)
        with pytest.raises(RuntimeError) as error:
            y.sum().backward()
        assert str(error.value).endswith("set_detect_anomaly(True, check_nan=False).")
        text = "".join(error.value.__notes__)
        assert "y = x.sigmoid()  # the saving line" in text
        assert "y.mul_(2)  # the changing line" in text and "y.add_(3)" not in text
        assert text.count(f'File "{__file__}", line ') == 2
        assert "test_message_names_both_lines" in text

    def test_what_is_not_saved_may_change(self):
        x = leaf(1.0, 2.0)
        y = x * 3
        z = y * 2  # saves the number only
        y.add_(1)
        z.sum().backward()
        assert x.grad.tolist() == [6, 6]

    def test_multiplication_by_itself_in_place(self):
        y = leaf(1.0, 2.0) * 1
        y.mul_(y)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            y.sum().backward()

    def test_changed_through_a_view(self):
        x = leaf(1.0, 2.0, 3.0)
        y = x.exp()
        y[0] = 5
        with pytest.raises(RuntimeError, match="output 0 of Exp, is at version 1; expected version 0"):
            y.sum().backward()


class TestHistory:
    def test_old_value_is_kept_where_backward_reads_it(self):
        x, w = leaf(2.0), leaf(5.0)
        y = x * 3
        y.mul_(w)
        y.sum().backward()
        assert x.grad.item() == 15 and w.grad.item() == 6
        x = leaf(2.0)
        y = x * 3
        y.pow_(2)
        y.sum().backward()
        assert x.grad.item() == 2 * 6 * 3

    def test_chain_of_writes(self):
        x = leaf(1.0, 2.0)
        y = x.clone().add_(1).mul_(2).exp_()
        y.sum().backward()
        assert torch.allclose(x.grad, 2 * (2 * (x.detach() + 1)).exp())

    def test_plain_tensor_gets_a_history(self):
        x = leaf(2.0)
        z = torch.ones(1, dtype=torch.float64)
        z.mul_(x)
        assert z.requires_grad and name(z) == "MulBackward0"
        z.backward()
        assert x.grad.item() == 1

    def test_write_into_a_view(self):
        x = leaf(1.0, 1.0, 1.0)
        y = x.clone()
        y[1:].mul_(3)
        assert name(y) == "CopySlices"
        y.sum().backward()
        assert x.grad.tolist() == [1, 3, 3]

    def test_overwritten_elements_get_no_gradient(self):
        x, v = leaf(1.0, 1.0), leaf(7.0)
        y = x.clone()
        y[0] = v[0]
        y.sum().backward()
        assert x.grad.tolist() == [0, 1] and v.grad.tolist() == [1]

    def test_filling_a_plain_tensor(self):
        x = leaf(1.0, 2.0, 3.0)
        rows = torch.zeros(3, 2, dtype=torch.float64)
        for i in range(3):
            rows[i, 0] = x[i]
            rows[i, 1] = x[i] ** 2
        assert name(rows) == "CopySlices"
        rows.sum().backward()
        assert x.grad.tolist() == [3, 5, 7]

    def test_view_finds_its_history_again(self):
        x = leaf(1.0, 2.0)
        y = x * 1
        v = y.view(2)
        y.mul_(2)
        assert name(v) == "AsStridedBackward0" and v.grad_fn is v.grad_fn
        v.sum().backward()
        assert x.grad.tolist() == [2, 2]

    def test_view_of_a_plain_tensor_follows(self):
        x, z = leaf(2.0), torch.ones(2, dtype=torch.float64)
        part = z[0:1]
        assert not part.requires_grad
        z.mul_(x)
        assert part.requires_grad and not part.is_leaf
        part.backward()
        assert x.grad.item() == 1

    def test_two_views(self):
        x = leaf(1.0, 1.0, 1.0, 1.0)
        y = x * 1
        a, b = y[:3], y[1:]
        a.mul_(2)
        b.mul_(3)
        (y.sum() + a.sum()).backward()
        # y = x * (2, 6, 6, 3); a = y[:3]
        assert x.grad.tolist() == [4, 12, 12, 3]

    def test_view_of_a_view(self):
        x = torch.ones(3, 4, dtype=torch.float64, requires_grad=True)
        y = x * 1
        y.t()[1:3, 0].mul_(5)
        y.sum().backward()
        expected = torch.ones(3, 4, dtype=torch.float64)
        expected[0, 1:3] = 5
        assert torch.equal(x.grad, expected)

    def test_saved_value_before_a_write_into_a_view(self):
        x, w = leaf(2.0, 3.0), leaf(5.0)
        y = x * 1
        y[:1].mul_(w)
        y.sum().backward()
        assert x.grad.tolist() == [5, 1] and w.grad.item() == 2

    def test_second_derivative_through_a_write(self):
        def f(x):
            y = x.clone()
            y[1:].mul_(x[:1])
            y[0] = x[1] ** 2
            return y.exp()

        x = leaf(0.3, 0.5, 0.7)
        assert torch.autograd.gradcheck(f, (x,))
        assert torch.autograd.gradgradcheck(f, (x,))

    def test_write_without_derivative_stops_the_gradient(self):
        x = leaf(1.0, 2.0)
        y = x * 2
        y.zero_()
        (y + x).sum().backward()
        assert x.grad.tolist() == [1, 1]

    def test_augmented_assignment_keeps_the_object(self):
        y = leaf(1.0) * 1
        before = y
        y += 1
        assert y is before and name(y) == "AddBackward0"

    def test_whole_assignment(self):
        x, v = leaf(1.0, 2.0), leaf(3.0, 4.0)
        y = x * 1
        y[:] = v * 2
        y.sum().backward()
        assert x.grad.tolist() == [0, 0] and v.grad.tolist() == [2, 2]

    def test_masked_and_indexed_assignment(self):
        x, v = leaf(1.0, 2.0, 3.0), leaf(5.0)
        y = x * 1
        y[torch.tensor([0, 2])] = v
        y.sum().backward()
        assert x.grad.tolist() == [0, 1, 0] and v.grad.item() == 2
        x.grad = None
        y = x * 1
        y[x > 1.5] = 0.0
        y.sum().backward()
        assert x.grad.tolist() == [1, 0, 0]

    def test_detach_in_place(self):
        x = leaf(1.0)
        y = x * 2
        assert y.detach_() is y and y.is_leaf and not y.requires_grad


class TestGeometry:
    """t_(), transpose_(), squeeze_(), unsqueeze_(): the tensor itself becomes a view of what it was."""

    def test_gradient(self):
        x = torch.arange(6.0).reshape(2, 3).clone().requires_grad_()
        y = x * 1
        y.t_().unsqueeze_(0)
        assert y.shape == (1, 3, 2) and name(y) == "UnsqueezeBackward1" and y._version == 2
        (y * torch.arange(6.0).reshape(1, 3, 2)).sum().backward()
        assert x.grad.tolist() == [[0, 2, 4], [1, 3, 5]]

    def test_view_and_write(self):
        x = torch.ones(3, 2, requires_grad=True)
        y = x * 1
        part = y[:2]
        part.t_()
        part.mul_(3)
        y.sum().backward()
        assert x.grad.tolist() == [[3, 3], [3, 3], [1, 1]]

    def test_saved_output_counts_as_changed(self):
        y = torch.ones(2, 3, requires_grad=True).exp()
        y.transpose_(0, 1)
        with pytest.raises(RuntimeError, match="output 0 of Exp, is at version 1; expected version 0"):
            y.sum().backward()

    def test_refused(self):
        x = torch.ones(2, 3, requires_grad=True)
        with pytest.raises(RuntimeError, match=LEAF):
            x.t_()
        with pytest.raises(RuntimeError, match=LEAF_VIEW):
            x[0].unsqueeze_(0)
        with pytest.raises(RuntimeError, match="returns multiple views"):
            x.exp().unbind(0)[0].unsqueeze_(0)
        with torch.no_grad():
            assert x.t_().shape == (3, 2) and x.is_leaf


class TestData:
    def test_assignment(self):
        x = leaf(1.0, 2.0)
        x.data = x.data - 0.5
        assert x.tolist() == [0.5, 1.5] and x.is_leaf and x.requires_grad
        x.data -= 0.5
        x.data[0] = 7
        assert x.tolist() == [7, 1]

    def test_shape_and_dtype_may_change(self):
        x = torch.ones(2, requires_grad=True)
        x.data = torch.zeros(3, 4, dtype=torch.float64)
        assert x.shape == (3, 4) and x.dtype == torch.float64 and x.is_contiguous()
        x.sum().backward()
        assert x.grad.shape == (3, 4)

    def test_shares_memory_afterwards(self):
        x, y = torch.zeros(2), torch.ones(2)
        x.data = y
        y[0] = 5
        assert x.tolist() == [5, 1] and x.data_ptr() == y.data_ptr()

    def test_errors(self):
        x = leaf(1.0)
        with pytest.raises(RuntimeError, match="data set to a tensor that requires gradients must be floating point or complex"):
            x.data = torch.ones(1, dtype=torch.int64)
        with pytest.raises(TypeError, match="Variable data has to be a tensor, but got list"):
            x.data = [1]
        with pytest.raises(RuntimeError, match="Deleting tensor data is not allowed"):
            del x.data

    def test_no_history(self):
        x = leaf(1.0)
        d = x.data
        assert not d.requires_grad and d.is_leaf and d.data_ptr() == x.data_ptr() and d._version == 0
