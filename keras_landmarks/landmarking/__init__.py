"""The points of every face in photos and videos, whatever else is in them."""
