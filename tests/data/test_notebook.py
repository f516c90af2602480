"""A data set in a notebook."""

from __future__ import annotations

from dataclasses import replace

from helpers import made_dataset
from page import Page

from omnifm.data.notebook import SHOWN_CLIENTS


def test_a_table_with_images() -> None:
    dataset = made_dataset()
    page = Page(dataset._repr_html_())
    (table,) = page.tables
    assert table[0][:2] == ["client", "modality"]
    assert [row[0] for row in table[1:]] == [client.name for client in dataset.clients]
    assert table[1][2] == str(len(dataset.clients[0].train))
    assert page.tags.count("img") == 4 * len(dataset.clients)
    assert all(link.startswith("data:image/png;base64,") for link in page.links)


def test_names_are_text_and_many_clients_are_counted() -> None:
    dataset = made_dataset()
    clients = tuple(replace(dataset.clients[0], name=f"<b>{n}") for n in range(SHOWN_CLIENTS + 3))
    text = replace(dataset, clients=clients)._repr_html_()
    assert "<b>" not in text
    assert text.endswith("<p>and 3 more clients</p>")
