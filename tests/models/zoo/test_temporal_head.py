import torch
from method_cases import random_episode, small_method

from mdmf.settings import method_settings


def test_it_is_what_each_source_of_amfar_is_given():
    episode = random_episode()
    amfar, head = small_method("amfar", temperature=2.0), small_method("temporal_head", source="flow")
    head.load_state_dict({key: value for key, value in amfar.state_dict().items() if key.startswith("branches.flow.")})
    torch.testing.assert_close(head(episode).logits, amfar(episode).branch_logits["flow"], atol=1e-6, rtol=0)
    assert method_settings({"name": "temporal_head", "source": "flow"}).table_name == "flow_temporal_head"


def test_settings_reach_the_head():
    branch = small_method("temporal_head", head_size=4, distance="bi_mhm", branch_temperature=0.5).branch("rgb")
    assert branch.head.project.weight.shape == (4, 8)
    assert (branch.distance.name, branch.temperature) == ("bi_mhm", 0.5)
