from __future__ import annotations

from moe_eval_plugin.publish.bundle.environment import (
    important_first,
    lock_text,
    locked_versions,
    package_differences,
)


def test_the_lock_names_every_package_once_sorted_and_no_folder_of_this_machine() -> None:
    text = lock_text()
    versions = locked_versions(text)
    assert versions["lmms-eval"] == "0.7.3"
    assert "moe-eval-plugin" in versions
    assert "file:" not in text
    assert list(versions) == sorted(versions)
    assert len(versions) == len(text.splitlines()) - 1


def test_packages_that_numbers_depend_on_come_first_among_differences() -> None:
    before = locked_versions("a==1\nb @ git+https://x/b@c0ffee\ntorch==2.14\n")
    found = package_differences(before, locked_versions("a==2\ntorch==2.15\nnew==1\n"))
    assert important_first(found, ["torch"]) == [
        "torch: 2.14 -> 2.15",
        "a: 1 -> 2",
        "b: git+https://x/b@c0ffee -> absent",
        "new: absent -> 1",
    ]
