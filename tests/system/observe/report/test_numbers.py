import re

from system.observe.report.folder import read_folder
from system.observe.report.numbers import newest_numbers
from system.observe.report.numbers import protocol_cards
from system.observe.report.numbers import shown
from system.observe.report.numbers import table
from system.observe.report.numbers import tiles
from tests.system.observe.report.conftest import measured
from tests.system.observe.report.conftest import number


def test_a_number_in_words():
    assert shown(number("gfid", 3.25, standard_error=0.5)) == "3.25 (2.27 to 4.23)"
    assert shown(number("psnr_db", 23.65)) == "23.6 dB"
    assert shown(number("bayes_accuracy", 0.9)) == "90.0 % (86.7 to 92.6)"


def test_an_interval_that_the_record_states_is_of_the_corrected_value():
    one = number("gfid", 3.25, corrected=2.5, standard_error=0.1, stated=(2.0, 3.0))
    assert shown(one) == "3.25, corrected 2.50 (2.00 to 3.00)"
    assert shown(number("kid", 0.5, stated=(0.25, 0.75))) == "0.500 (0.250 to 0.750)"
    plain_share = number("recall", 0.5, corrected=0.5, stated=(0.4, 0.6))
    assert shown(plain_share) == "50.0 % (40.0 to 60.0)"


def test_the_newest_of_each_protocol_stands_in_the_table(run_url, evaluated):
    evaluated("000000001500-z.json", 1500, {"evaluation/gfid": measured(7.0, "e" * 32)})
    found = newest_numbers(read_folder(run_url))
    assert [one.value for one in found if one.name == "evaluation/gfid"] == [3.25, 7.0]


def test_every_number_leads_to_the_card_of_its_protocol(run_url):
    run = read_folder(run_url)
    text, cards = table(run.numbers, "r0"), protocol_cards(run.numbers, "r0")
    wanted = set(re.findall(r'href="#([^"]+)"', text))
    assert wanted == set(re.findall(r'id="([^"]+)"', cards))
    assert len(wanted) == 4
    assert "a" * 32 in cards
    assert "&quot;samples&quot;: 400" in cards


def test_what_comes_from_a_file_is_escaped(run_url):
    bad = number("gfid", 1.0, protocol={"metric": "</pre><script>"})
    assert "<script>" not in protocol_cards([bad], "r0")
    named = type(bad)("<img src=x>", 1.0, 1, "x", {}, '"><script>', None, None)
    assert "<img" not in table([named], "r0")
    assert "<script>" not in table([named], "r0") + protocol_cards([named], "r0")


def test_tiles_say_the_interval_or_that_there_is_none(run_url):
    text = tiles(read_folder(run_url))
    assert "2.27 to 4.23" in text
    assert "no error bar" not in text
