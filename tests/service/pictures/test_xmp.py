"""Which properties of XMP travel, in every encoding that the standard allows."""

import pytest

from service.pictures.xmp import is_part, is_place, text_of, travelling

RDF = '<x:xmpmeta xmlns:x="adobe:ns:meta/"><r:RDF xmlns:r="http://www.w3.org/1999/02/22-rdf-syntax-ns#">{}</r:RDF></x:xmpmeta>'
TITLE = 'xmlns:dc="http://purl.org/dc/elements/1.1/" dc:format="image/png"'
GPS = 'xmlns:e="http://ns.adobe.com/exif/1.0/" e:GPSLatitude="52,30N"'
GAIN = 'xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/" hdrgm:Version="1.0"'


def packet(*attributes: str) -> str:
    return RDF.format(f"<r:Description {' '.join(attributes)}/>")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"])
def test_text_is_read_in_every_encoding(encoding: str) -> None:
    assert text_of("<a>ä</a>".encode(encoding)) == "<a>ä</a>"


def test_a_packet_of_which_all_may_travel_is_as_it_was() -> None:
    sent = packet(TITLE)
    assert travelling(sent.encode("utf-16"), places=False) == sent.encode()


def test_places_go_unless_they_may_stay() -> None:
    sent = packet(TITLE, GPS).encode()
    kept = travelling(sent, places=False)
    assert kept is not None
    assert b"GPSLatitude" not in kept
    assert b'dc:format="image/png"' in kept
    assert travelling(sent, places=True) == sent


def test_claims_of_parts_go_always_with_the_declaration_of_their_vocabulary() -> None:
    kept = travelling(packet(TITLE, GAIN).encode(), places=True)
    assert kept is not None
    assert b"hdr" not in kept
    assert b"dc:format" in kept


def test_a_packet_of_nothing_else_is_none() -> None:
    assert travelling(packet(GPS).encode(), places=False) is None


def test_elements_are_judged_at_any_depth() -> None:
    inner = '<d:a xmlns:d="d:"><d:b><d:City>Berlin</d:City><d:c>kept</d:c></d:b></d:a>'
    kept = travelling(RDF.format(f"<r:Description>{inner}</r:Description>").encode(), places=False)
    assert kept is not None
    assert b"Berlin" not in kept
    assert b"kept" in kept


def test_an_orientation_goes_where_the_answer_is_stored_upright() -> None:
    sent = packet(TITLE, 'xmlns:t="http://ns.adobe.com/tiff/1.0/" t:Orientation="6"').encode()
    assert b"Orientation" in (travelling(sent, places=False) or b"")
    assert b"Orientation" not in (travelling(sent, places=False, turned=True) or b"Orientation")


@pytest.mark.parametrize("broken", [b"<x", b"\xff\xfe<", b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', b"\x00\x01\x02"])
def test_what_cannot_be_read_travels_only_where_places_may(broken: bytes) -> None:
    assert travelling(broken, places=False) is None
    assert travelling(broken, places=True) == broken


def test_a_panorama_is_no_part_and_a_location_is_a_place() -> None:
    assert is_part("http://ns.google.com/photos/1.0/camera/", "MotionPhoto")
    assert not is_part("http://ns.google.com/photos/1.0/panorama/", "FullPanoWidthPixels")
    assert is_place("LocationShown")
    assert not is_place("Creator")
